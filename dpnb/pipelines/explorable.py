"""What the instrument needs of a pipeline: the one protocol of sessions, meters, plans and panels.

`DiffusionPipeline` fulfils it, and so does `AttachedPipeline`, which stands for a pipeline that was
not written here. Whoever explores pipelines asks for this and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from dpnb.pipelines.call_arguments import CallSignature
from dpnb.stages import Step

if TYPE_CHECKING:
    from PIL.Image import Image

    from dpnb.pipelines.listeners import Run
    from dpnb.pipelines.pictures.inputs import PictureInput
    from dpnb.run_listener import RunListener
    from dpnb.strategies.stack import StrategyStack


class ExplorablePipeline(Protocol):
    """A pipeline whose runs are heard, whose switches are known, and whose call says what it takes.

    A run takes place in the thread that asks for it, and ends one step after the other; between two
    of them its listeners are called, and anybody may switch.
    """

    scheduler: Any
    """What leads through the denoising steps; `None` where nothing does."""

    @property
    def class_name(self) -> str:
        """The name of the pipeline's class, as people know it."""
        ...

    @property
    def name_or_path(self) -> str | None:
        """What it was loaded from; `None` where that is not known."""
        ...

    @property
    def is_attached(self) -> bool:
        """Whether this stands for a pipeline that was not written here."""
        ...

    def parts(self) -> Mapping[str, Any]:
        """The components by name."""
        ...

    @property
    def offload_sequence(self) -> tuple[str, ...]:
        """The names of the networks in the order of their use."""
        ...

    @property
    def never_offloaded(self) -> tuple[str, ...]:
        """The names of the networks that offloading leaves alone."""
        ...

    @property
    def strategies(self) -> StrategyStack:
        """What is switched on, and the one way to change it."""
        ...

    def watch(self, listener: RunListener[Run]) -> Callable[[], None]:
        """Call `listener` in every run that begins from now on; what is returned stops that."""
        ...

    @property
    def call_signature(self) -> CallSignature:
        """The arguments of a run."""
        ...

    @property
    def picture_inputs(self) -> tuple[PictureInput, ...]:
        """The pictures that its call takes beside words."""
        ...

    @property
    def size_unit(self) -> int:
        """Height and width of pictures are multiples of it, in pixels."""
        ...

    def default_size(self) -> tuple[int, int] | None:
        """Height and width that are drawn where none are given, in pixels, where that is known."""
        ...

    @property
    def execution_device(self) -> torch.device:
        """Where a run computes."""
        ...

    @property
    def interrupt(self) -> bool:
        """Whether the present run has been told to end after its present step."""
        ...

    @property
    def decodes_at_once(self) -> bool:
        """Whether a run that is told to end goes straight to decoding, even before its first step.

        Whoever wants few steps of another asks for few in the first place.
        """
        ...

    def interrupt_run(self) -> None:
        """Let the present run end after its present step, with what it has, where it can."""
        ...

    def make_run(self, **arguments: Any) -> Callable[[], Any]:
        """A run that takes place when what is returned is called, and in its thread.

        Raises:
            TypeError: an argument is unknown or missing.
            ValueError: one is impossible, as far as that is known before.
        """
        ...

    def stream(self, **arguments: Any) -> Iterator[Step]:
        """A run, step by step; the last one holds the output."""
        ...

    def preview(self, latents: Tensor) -> list[Image] | None:
        """What latents of a run, or those that a step predicts, decode to; `None` if unknown."""
        ...
