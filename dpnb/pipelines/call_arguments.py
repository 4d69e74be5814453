"""What a pipeline's call takes: names, defaults, kinds and units, read from its signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any


class ArgumentKind(Enum):
    """What a person gives for an argument."""

    TEXT = "words"
    COUNT = "a whole number"
    NUMBER = "a number"
    FLAG = "yes or no"
    PICTURE = "a picture"
    VIDEO = "a video"
    OTHER = "an object of Python"


STEPS = ("num_inference_steps",)
COUNTS = (
    "num_images_per_prompt",
    "num_videos_per_prompt",
    "num_waveforms_per_prompt",
    "batch_size",
)
GUIDANCES = ("guidance_scale", "true_cfg_scale")
"""What pipelines call the steps, the number of results, and how strongly words steer."""

UNITS: Mapping[str, str] = {
    "height": "px",
    "width": "px",
    "num_frames": "frames",
    "fps": "frames/s",
    "frame_rate": "frames/s",
    "audio_length_in_s": "s",
    "audio_end_in_s": "s",
    "num_inference_steps": "steps",
}

PLUMBING = frozenset(
    {
        "args",
        "callback",
        "callback_on_step_end",
        "callback_on_step_end_tensor_inputs",
        "callback_steps",
        "generator",
        "kwargs",
        "output_type",
        "return_dict",
        "self",
    }
)
"""What says how a call is made, and not what it draws."""


@dataclass(frozen=True)
class CallArgument:
    """An argument of a pipeline's call.

    Args:
        name: its name.
        kind: what a person gives for it.
        default: what stands where nothing is given; `inspect.Parameter.empty` where something must
            be given.
        unit: of a number; empty where it has none.
    """

    name: str
    kind: ArgumentKind
    default: Any = inspect.Parameter.empty
    unit: str = ""

    @property
    def is_required(self) -> bool:
        """Whether a call without it is refused."""
        return self.default is inspect.Parameter.empty

    @property
    def label(self) -> str:
        """Its name in words: `"guidance scale"` for `guidance_scale`."""
        return self.name.removeprefix("num_").replace("_", " ")


@dataclass(frozen=True)
class CallSignature:
    """The arguments of a pipeline's call, in its order.

    Args:
        arguments: those that it names.
        is_open: whether it takes others too.
    """

    arguments: tuple[CallArgument, ...]
    is_open: bool = False

    @classmethod
    def of(cls, call: Callable[..., Any]) -> CallSignature:
        """Those of `call`, a pipeline's `__call__`, bound or not."""
        parameters = inspect.signature(call).parameters.values()
        named = (p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))
        return cls(
            tuple(_read_argument(p) for p in named if p.name != "self"),
            any(p.kind is p.VAR_KEYWORD for p in parameters),
        )

    def __contains__(self, name: object) -> bool:
        return any(argument.name == name for argument in self.arguments)

    def __iter__(self) -> Iterator[CallArgument]:
        return iter(self.arguments)

    def find(self, *names: str) -> CallArgument | None:
        """The first of these that the call takes."""
        known = {argument.name: argument for argument in self.arguments}
        return next((known[name] for name in names if name in known), None)

    def default(self, name: str) -> Any:
        """What stands for an argument where nothing is given; `None` where there is no such one."""
        found = self.find(name)
        return None if found is None or found.is_required else found.default

    @property
    def steps(self) -> CallArgument | None:
        """The number of denoising steps."""
        return self.find(*STEPS)

    @property
    def count(self) -> CallArgument | None:
        """The number of results of one prompt."""
        return self.find(*COUNTS)

    @property
    def guidance(self) -> CallArgument | None:
        """How strongly words steer: what has a default of its own, where there are two."""
        found = [one for name in GUIDANCES if (one := self.find(name)) is not None]
        return next((one for one in found if one.default is not None), found[0] if found else None)

    @property
    def pictures(self) -> tuple[CallArgument, ...]:
        """The pictures that it takes."""
        return tuple(one for one in self.arguments if one.kind is ArgumentKind.PICTURE)

    @property
    def settings(self) -> tuple[CallArgument, ...]:
        """What a person may set with a number, a tick or words."""
        kinds = (ArgumentKind.TEXT, ArgumentKind.COUNT, ArgumentKind.NUMBER, ArgumentKind.FLAG)
        return tuple(
            one for one in self.arguments if one.kind in kinds and one.name not in PLUMBING
        )

    def select(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Those of `values` that the call takes, and that are not `None`."""
        return {name: v for name, v in values.items() if v is not None and name in self}


_WORDS = frozenset({"prompt", "negative_prompt", "system_prompt", "lyrics", "instruction"})


def _read_argument(parameter: inspect.Parameter) -> CallArgument:
    name, default = parameter.name, parameter.default
    return CallArgument(
        name, _kind_of(name, default, parameter.annotation), default, UNITS.get(name, "")
    )


def _kind_of(name: str, default: Any, annotation: Any) -> ArgumentKind:
    """By a default that is a number or a truth, else by its name, else by its annotation."""
    for kind, types in _BY_DEFAULT:
        if isinstance(default, types):
            return kind
    stem = name.rstrip("0123456789").rstrip("_")
    if stem in _WORDS or stem.endswith("_prompt"):
        return ArgumentKind.TEXT
    if stem == "image" or stem.endswith("_image"):
        return ArgumentKind.PICTURE
    if stem == "video" or stem.endswith("_video"):
        return ArgumentKind.VIDEO
    return _kind_by_annotation(annotation)


_BY_DEFAULT: tuple[tuple[ArgumentKind, type], ...] = (
    (ArgumentKind.FLAG, bool),
    (ArgumentKind.COUNT, int),
    (ArgumentKind.NUMBER, float),
)


def _kind_by_annotation(annotation: Any) -> ArgumentKind:
    """`int`, `float` and `bool`, alone or with `None` beside them."""
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    plain = text.replace("typing.", "").replace("Optional[", "").rstrip("]")
    named = {part.strip() for part in plain.split("|")} - {"None"}
    kinds = {"int": ArgumentKind.COUNT, "float": ArgumentKind.NUMBER, "bool": ArgumentKind.FLAG}
    return kinds.get(named.pop(), ArgumentKind.OTHER) if len(named) == 1 else ArgumentKind.OTHER
