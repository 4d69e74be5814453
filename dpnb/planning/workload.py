"""What is drawn while something is predicted or measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from dpnb.generators import make_generator
from dpnb.numbers import coerce_numbers, parse_int
from dpnb.pipelines.pictures.inputs import PictureInput

EXAMPLE = 512
"""Pixels along a side of a made-up picture, where no size is known."""

FurtherNumbers: TypeAlias = tuple[tuple[str, bool | int | float], ...]
"""Pairs of an argument of a call and its number."""


@dataclass(frozen=True)
class Workload:
    """Pictures to draw. What is `None` is the pipeline's own default.

    Args:
        prompt: what they show.
        height: in pixels; the model's own by default.
        width: in pixels.
        batch: pictures at once, all of one prompt.
        steps: denoising steps.
        guidance_scale: how strongly the prompt steers; up to 1 the network sees every latent once.
        seed: of the noise.
        frames: of a video.
        more: pairs of a further argument of the pipeline's call and its number.
        from_card: the arguments whose numbers are those of the checkpoint's model card.
    """

    prompt: str = "red apple"
    height: int | None = None
    width: int | None = None
    batch: int = 1
    steps: int | None = None
    guidance_scale: float | None = None
    seed: int = 0
    frames: int | None = None
    more: FurtherNumbers = ()
    from_card: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        coerce_numbers(self)
        for name in ("batch", "steps", "frames"):
            count: int | None = getattr(self, name)
            if count is not None:
                parse_int(name, count, least=1)

    def with_size(self, size: tuple[int, int] | None) -> Workload:
        """The same, with this height and width where none is given."""
        height, width = size or (None, None)
        return replace(
            self,
            height=height if self.height is None else self.height,
            width=width if self.width is None else self.width,
        )

    def arguments(self, pictures: Sequence[PictureInput] = ()) -> dict[str, Any]:
        """The arguments of a call of a pipeline of dpnb; its pictures come as an array.

        Args:
            pictures: what the pipeline takes beside words, given made-up ones.
        """
        height, width = self.height or EXAMPLE, self.width or EXAMPLE
        chosen = {"num_inference_steps": self.steps, "guidance_scale": self.guidance_scale}
        return {
            **{one.argument: one.example(height, width) for one in pictures},
            "prompt": self.prompt,
            "height": self.height,
            "width": self.width,
            "num_images_per_prompt": self.batch,
            **{name: value for name, value in chosen.items() if value is not None},
            "generator": make_generator(self.seed),
            "output_type": "np",
            **dict(self.more),
        }

    def describe(self) -> str:
        """In a few words, for titles."""
        size = "its own size" if self.height is None else f"{self.width} × {self.height}"
        many = f"{self.batch} pictures" if self.batch > 1 else "1 picture"
        steps = (
            "its own steps" if self.steps is None else f"{self.steps} step{'s' * (self.steps != 1)}"
        )
        frames = "" if self.frames is None else f", {self.frames} frames"
        scale = None if "guidance_scale" in self.from_card else self.guidance_scale
        guidance = "" if scale is None else f", guidance {scale:g}"
        return f"{many} of {size}{frames}, {steps}{guidance}{self._describe_card()}"

    def _describe_card(self) -> str:
        """What is the model card's, with the numbers that are not said already."""
        known = {"guidance_scale": self.guidance_scale, **dict(self.more)}
        words = {"height": "size", "width": "size", "guidance_scale": "guidance"}
        named = [
            f"{words.get(name, name.replace('_', ' '))} {known.get(name, '')}".rstrip()
            for name in self.from_card
        ]
        return f" (model card: {', '.join(dict.fromkeys(named))})" if named else ""
