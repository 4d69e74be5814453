"""What is drawn while something is predicted or measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from dpnb.generators import make_generator
from dpnb.numbers import coerce_numbers, parse_int
from dpnb.pipelines.pictures.inputs import PictureInput
from dpnb.pipelines.text_to_image import TextToImagePipeline

EXAMPLE = 512
"""Pixels along a side of a made-up picture, where no size is known."""


@dataclass(frozen=True)
class Workload:
    """Pictures to draw.

    Args:
        prompt: what they show.
        height: in pixels; the model's own by default.
        width: in pixels.
        batch: pictures at once, all of one prompt.
        steps: denoising steps.
        guidance_scale: how strongly the prompt steers; up to 1 the network sees every latent once.
        seed: of the noise.
    """

    prompt: str = "red apple"
    height: int | None = None
    width: int | None = None
    batch: int = 1
    steps: int = 20
    guidance_scale: float = 5.0
    seed: int = 0

    def __post_init__(self) -> None:
        coerce_numbers(self)
        for name, count in (("batch", self.batch), ("steps", self.steps)):
            parse_int(name, count, least=1)

    def with_size_of(self, pipe: TextToImagePipeline) -> Workload:
        """The same, with the size that `pipe` draws where none is given."""
        height, width = pipe.default_size()
        return replace(
            self,
            height=height if self.height is None else self.height,
            width=width if self.width is None else self.width,
        )

    def arguments(self, pictures: Sequence[PictureInput] = ()) -> dict[str, Any]:
        """The arguments of a pipeline's call; its pictures come as an array.

        Args:
            pictures: what the pipeline takes beside words, given made-up ones.
        """
        height, width = self.height or EXAMPLE, self.width or EXAMPLE
        return {
            **{one.argument: one.example(height, width) for one in pictures},
            "prompt": self.prompt,
            "height": self.height,
            "width": self.width,
            "num_images_per_prompt": self.batch,
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance_scale,
            "generator": make_generator(self.seed),
            "output_type": "np",
        }

    def describe(self) -> str:
        """In a few words, for titles."""
        size = "its own size" if self.height is None else f"{self.width} × {self.height}"
        many = f"{self.batch} pictures" if self.batch > 1 else "1 picture"
        return f"{many} of {size}, {self.steps} step{'s' * (self.steps != 1)}"
