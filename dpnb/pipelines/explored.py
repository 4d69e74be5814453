"""How a pipeline of dpnb answers to those who explore it; see `ExplorablePipeline`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Generic

from torch import Tensor
from typing_extensions import TypeVar

from dpnb.pipelines.call_arguments import CallSignature
from dpnb.pipelines.pictures.previews import decode_preview
from dpnb.stages import Step

if TYPE_CHECKING:
    from PIL.Image import Image


Out = TypeVar("Out", default=Any)


class Explored(ABC, Generic[Out]):
    """A pipeline that draws step by step; the type parameter is what its runs return."""

    _interrupt: bool

    @abstractmethod
    def __call__(self, *args: Any, **kwargs: Any) -> Out:
        """Draw, and return the output."""

    @abstractmethod
    def stream(self, *args: Any, **kwargs: Any) -> Iterator[Step[Out | None]]:
        """Draw step by step: an iterator of `Step`, whose last one holds the output."""

    @property
    def call_signature(self) -> CallSignature:
        """The arguments of a run."""
        return CallSignature.of(type(self).__call__)

    @property
    def is_attached(self) -> bool:
        """No: it was written here."""
        return False

    @property
    def decodes_at_once(self) -> bool:
        """Yes: a run that is told to end decodes what it has, even before its first step."""
        return True

    def make_run(self, **arguments: Any) -> Callable[[], Out | None]:
        """A run that takes place when what is returned is called; arguments are checked now."""
        return partial(drain, self.stream(**arguments))

    def interrupt_run(self) -> None:
        """Go straight to decoding after the present step; so does `pipe._interrupt = True`."""
        self._interrupt = True

    def preview(self, latents: Tensor) -> list[Image]:
        """What latents `[batch, channels, h, w]` of a step, or those it predicts, decode to."""
        return decode_preview(self, latents)


def drain(steps: Iterator[Step[Out | None]]) -> Out | None:
    """Run to the end and return the output."""
    output = None
    for step in steps:
        output = step.output
    return output
