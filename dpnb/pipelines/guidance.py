"""How a prompt steers a run: the value that a pipeline holds for it, and the usual one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor
from typing_extensions import override

from dpnb.pipelines.denoise import guide


class GuidedPipeline(Protocol):
    """A pipeline, as classifier-free guidance sees it."""

    scheduler: Any

    @property
    def guidance_scale(self) -> float:
        """Of the present run."""
        ...

    @property
    def guidance_rescale(self) -> float:
        """Of the present run."""
        ...

    @property
    def do_classifier_free_guidance(self) -> bool:
        """Whether the network sees every latent twice, without and with the prompt."""
        ...

    def predict_noise(self, latents: Tensor, t: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        """The network's prediction for `latents` `[batch, channels, h, w]` at timestep `t`."""
        ...


P = TypeVar("P", bound=GuidedPipeline, contravariant=True)


class Guidance(ABC, Generic[P]):
    """What the network is shown in a step, and what the scheduler is given of its answers.

    A pipeline holds one as its `guidance`. It is a value: scales belong to the pipeline's present
    run and may change between two steps. The type parameter is the pipeline that it asks for.
    """

    @abstractmethod
    def predict(self, pipe: P, latents: Tensor, t: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        """What the scheduler is given.

        Args:
            pipe: the pipeline.
            latents: of the present step, `[batch, channels, h, w]`.
            t: its timestep.
            tensors: of the run.

        Returns:
            A prediction of the shape of `latents`.
        """

    def predict_unguided(
        self, pipe: P, latents: Tensor, t: Tensor, tensors: dict[str, Tensor]
    ) -> Tensor:
        """What the network says with the prompt; see `predict` for the arguments."""
        return pipe.predict_noise(pipe.scheduler.scale_model_input(latents, t), t, tensors)


class Span(Protocol):
    """The part of a run in which prompts steer it."""

    @property
    def is_open(self) -> bool:
        """Whether the present step is in it."""
        ...


@dataclass(frozen=True)
class GuidanceWithin(Guidance[Any]):
    """Another guidance within a span of the run; outside of it nothing steers.

    Args:
        inner: the other one.
        span: follows the run.
    """

    inner: Guidance[Any]
    span: Span

    @override
    def predict(self, pipe: Any, latents: Tensor, t: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        ask = self.inner.predict if self.span.is_open else self.inner.predict_unguided
        return ask(pipe, latents, t, tensors)


@dataclass(frozen=True)
class ClassifierFreeGuidance(Guidance[GuidedPipeline]):
    """Away from what the network says without the prompt, where the guidance scale asks for it."""

    @override
    def predict(
        self, pipe: GuidedPipeline, latents: Tensor, t: Tensor, tensors: dict[str, Tensor]
    ) -> Tensor:
        return self.combine(pipe, self.ask(pipe, latents, t, tensors))

    def ask(
        self, pipe: GuidedPipeline, latents: Tensor, t: Tensor, tensors: dict[str, Tensor]
    ) -> Tensor:
        """The network's predictions: with guidance those without the prompt come first."""
        shown = torch.cat((latents, latents)) if pipe.do_classifier_free_guidance else latents
        return pipe.predict_noise(pipe.scheduler.scale_model_input(shown, t), t, tensors)

    def combine(self, pipe: GuidedPipeline, noise_pred: Tensor) -> Tensor:
        """One prediction for each latent, out of what `ask` has returned."""
        return self.steer(pipe, noise_pred, pipe.guidance_rescale)

    def steer(self, pipe: GuidedPipeline, noise_pred: Tensor, rescale: float = 0.0) -> Tensor:
        """As `combine`, with a rescaling of one's own."""
        if not pipe.do_classifier_free_guidance:
            return noise_pred
        return guide(noise_pred, pipe.guidance_scale, rescale)
