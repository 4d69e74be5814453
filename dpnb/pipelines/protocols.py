"""What a pipeline's helpers ask of it: small views of `DiffusionPipeline` and its children."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor

from dpnb.generators import Generators
from dpnb.pipelines.arguments import Arguments
from dpnb.pipelines.pictures.crops import Region
from dpnb.pipelines.pictures.inputs import PictureInput, Pictures
from dpnb.pipelines.schema import Schema
from dpnb.strategies.stack import StrategyStack

A = TypeVar("A", bound=Arguments, contravariant=True)


class RunningPipeline(Protocol):
    """A pipeline, as those see it who listen to its runs."""

    @property
    def interrupt(self) -> bool:
        """Whether a run goes straight to decoding after the present step."""
        ...

    def interrupt_run(self) -> None:
        """Let the present run end after its present step, with what it has, where it can."""
        ...

    @property
    def picture_inputs(self) -> tuple[PictureInput, ...]:
        """The pictures that a run begins with, beside the words."""
        ...

    @property
    def strategies(self) -> StrategyStack:
        """What is switched on."""
        ...

    @property
    def execution_device(self) -> torch.device:
        """Where a run computes."""
        ...


class LatentPipeline(Protocol[A]):
    """A pipeline, as what its runs begin with sees it: latents, and how they are made."""

    scheduler: Any

    @property
    def vae(self) -> Any:
        """The autoencoder."""
        ...

    @property
    def vae_scale_factor(self) -> int:
        """Pixels per latent, along one side."""
        ...

    def preprocess(
        self, pictures: Pictures, height: int, width: int, region: Region | None = None
    ) -> Tensor:
        """The pictures that a run begins with, `[pictures, 3, height, width]` in [-1, 1]."""
        ...

    def preprocess_mask(
        self, mask: Pictures, height: int, width: int, region: Region | None = None
    ) -> Tensor:
        """The masks of a run, `[masks, 1, height, width]`: one where something is to be drawn."""
        ...

    @property
    def is_vae_upcast(self) -> bool:
        """Whether the autoencoder computes in float32, whatever it is stored in."""
        ...

    @property
    def network_channels(self) -> int:
        """Channels that the denoising network takes, for each latent."""
        ...

    @property
    def do_classifier_free_guidance(self) -> bool:
        """Whether the network sees every latent twice, without and with the prompt."""
        ...

    def default_size(self) -> tuple[int, int]:
        """Height and width that are drawn where none are asked for, in pixels."""
        ...

    def find_stop_index(self, timesteps: Tensor, arguments: A) -> int:
        """The index in the schedule before which a run ends."""
        ...

    def sample_noise(
        self, arguments: Arguments, channels: int, device: torch.device, like: Tensor
    ) -> Tensor:
        """Noise of variance one, `[pictures, channels, h, w]`, in the dtype of `like`."""
        ...

    def begin_latents(self, arguments: A, device: torch.device, like: Tensor) -> Tensor:
        """The noise to begin with, `[pictures, channels, h, w]`, in the dtype of `like`."""
        ...

    def holds_latents(self, pictures: Pictures) -> bool:
        """Whether these are latents instead of pictures."""
        ...

    def encode_pictures(self, pictures: Tensor, generator: Generators, copies: int = 1) -> Tensor:
        """Latents of pictures `[pictures, 3, H, W]` in [-1, 1]; see `latents.encode_latents`."""
        ...

    def encode_picture_means(self, pictures: Tensor) -> Tensor:
        """Means of the latents of pictures `[pictures, 3, H, W]`; see `latents.encode_means`."""
        ...


class ComputingPipeline(Protocol):
    """A pipeline, as the check of its numbers sees it: which networks compute, and in what."""

    @property
    def computes_values(self) -> bool:
        """Whether networks have weights, so that what a run makes has values to look at."""
        ...

    @property
    def offload_sequence(self) -> tuple[str, ...]:
        """The names of its networks in the order of their use: encoders, denoiser, autoencoder."""
        ...

    @property
    def vae(self) -> Any:
        """The autoencoder."""
        ...

    @property
    def is_vae_upcast(self) -> bool:
        """Whether the autoencoder computes in float32, whatever it is stored in."""
        ...

    def parts(self) -> Mapping[str, Any]:
        """The components by name."""
        ...


class StoredPipeline(Protocol):
    """A pipeline and its class, as loading and saving see them."""

    schema: ClassVar[Schema]
    _load_connected_pipes: ClassVar[bool]
    _is_onnx: ClassVar[bool]
    hf_device_map: Any
    _settings: dict[str, Any]
    _name_or_path: str | None

    @classmethod
    def choose_class(cls, found: type[Any]) -> type[Any]:
        """The class that is loaded where an index names `found`."""
        ...

    @property
    def components(self) -> dict[str, Any]:
        """The components by name."""
        ...

    @property
    def strategies(self) -> StrategyStack:
        """What is switched on."""
        ...
