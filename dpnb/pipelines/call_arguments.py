"""What a pipeline's call takes: names, defaults, kinds and units, read from its signature."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from types import FunctionType
from typing import Any, Literal, get_args, get_origin
from weakref import WeakKeyDictionary

from dpnb.pipelines.call_documentation import (
    UNDOCUMENTED,
    ArgumentDocumentation,
    read_documentation,
)


class ArgumentKind(Enum):
    """What a person gives for an argument."""

    TEXT = "words"
    COUNT = "a whole number"
    NUMBER = "a number"
    FLAG = "yes or no"
    NUMBERS = "numbers, as in [1, 2]"
    CHOICE = "one of several words"
    PICTURE = "a picture"
    PICTURES = "pictures"
    VIDEO = "a video"
    SOUND = "a sound"
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
        annotation: what its signature says of its type; empty where it says nothing.
        documentation: what the call's docstring says of it.
        choices: the words of which one is to be given, where there are such.
        holder: the class of objects that hold frames, where such are given.
    """

    name: str
    kind: ArgumentKind
    default: Any = inspect.Parameter.empty
    unit: str = ""
    annotation: str = ""
    documentation: ArgumentDocumentation = UNDOCUMENTED
    choices: tuple[str, ...] = ()
    holder: type | None = None

    @property
    def is_required(self) -> bool:
        """Whether a call without it is refused."""
        return self.default is inspect.Parameter.empty

    @property
    def label(self) -> str:
        """Its name in words: `"guidance scale"` for `guidance_scale`."""
        return self.name.strip("_").removeprefix("num_").replace("_", " ")

    @property
    def takes_lists(self) -> bool:
        """Whether several of a kind may be given for it."""
        return _LIST.search(self.annotation) is not None

    @property
    def takes_lists_alone(self) -> bool:
        """Whether a list has to be given for it, also of one."""
        return self.takes_lists and PICTURE_CLASS not in _without_lists(self.annotation)

    @property
    def takes_tensors_alone(self) -> bool:
        """Whether nothing but a tensor is given for it."""
        return "Tensor" in self.annotation and PICTURE_CLASS not in self.annotation


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
        """Those of `call`, a pipeline's `__call__`, bound or not; a function's are read once."""
        if not isinstance(call, FunctionType):
            return cls._read(call)
        if call not in _KNOWN:
            _KNOWN[call] = cls._read(call)
        return _KNOWN[call]

    @classmethod
    def _read(cls, call: Callable[..., Any]) -> CallSignature:
        parameters = inspect.signature(call).parameters.values()
        named = (p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))
        documented = read_documentation(call.__doc__)
        return cls(
            tuple(
                _read_argument(p, documented.get(p.name, UNDOCUMENTED))
                for p in named
                if p.name != "self"
            ),
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
        """What a person may set with numbers, a tick, words or a choice."""
        kinds = (
            ArgumentKind.TEXT,
            ArgumentKind.CHOICE,
            ArgumentKind.COUNT,
            ArgumentKind.NUMBER,
            ArgumentKind.FLAG,
            ArgumentKind.NUMBERS,
        )
        return tuple(
            one for one in self.arguments if one.kind in kinds and one.name not in PLUMBING
        )

    def select(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Those of `values` that the call takes, and that are not `None`."""
        return {name: v for name, v in values.items() if v is not None and name in self}


_KNOWN: WeakKeyDictionary[Callable[..., Any], CallSignature] = WeakKeyDictionary()

_WORDS = frozenset({"prompt", "negative_prompt", "system_prompt", "lyrics", "instruction"})

PICTURE_CLASS = "PIL.Image.Image"

_LIST = re.compile(r"\b[Ll]ist\[")
_INNERMOST = re.compile(r"\b(?:[Ll]ist|[Tt]uple)\[[^\[\]]*\]")


def _read_argument(
    parameter: inspect.Parameter, documentation: ArgumentDocumentation
) -> CallArgument:
    name, default = parameter.name, parameter.default
    annotation = _describe_annotation(parameter.annotation)
    choices = _find_choices(parameter, documentation)
    holder = next(_find_holders(parameter.annotation), None)
    kind = ArgumentKind.CHOICE if choices else _kind_of(name, default, annotation)
    kind = kind if holder is None else ArgumentKind.PICTURES
    return CallArgument(
        name, kind, default, _find_unit(name), annotation, documentation, choices, holder
    )


def _find_unit(name: str) -> str:
    return UNITS.get(name) or ("s" if name.endswith(("duration", "duration_s")) else "")


def find_frames_field(holder: type) -> str | None:
    """What a class of data calls the frames that it holds; `None` where it holds none."""
    named = {one.name for one in fields(holder)} if is_dataclass(holder) else set()
    return next((name for name in ("frames", "video") if name in named), None)


def _find_holders(annotation: Any) -> Iterator[type]:
    """The classes in an annotation whose objects hold frames."""
    if isinstance(annotation, type) and find_frames_field(annotation) is not None:
        yield annotation
    for one in get_args(annotation):
        yield from _find_holders(one)


def _find_choices(
    parameter: inspect.Parameter, documentation: ArgumentDocumentation
) -> tuple[str, ...]:
    """The words of a `Literal`, or those that a docstring lists."""
    annotation, default = parameter.annotation, parameter.default
    if get_origin(annotation) is Literal:
        words = get_args(annotation)
        return words if all(isinstance(one, str) for one in words) else ()
    return documentation.choices(default) if isinstance(default, str) else ()


def _describe_annotation(annotation: Any) -> str:
    if annotation is inspect.Parameter.empty:
        return ""
    is_plain = isinstance(annotation, type) and not get_args(annotation)
    text = f"{annotation.__module__}.{annotation.__qualname__}" if is_plain else str(annotation)
    return text.replace("typing.", "").replace("builtins.", "").replace("NoneType", "None")


def _without_lists(annotation: str) -> str:
    """An annotation without what stands within lists and tuples."""
    while (shorter := _INNERMOST.sub("", annotation)) != annotation:
        annotation = shorter
    return annotation


def _kind_of(name: str, default: Any, annotation: str) -> ArgumentKind:
    """By a default that is a number or a truth, else by its name, else by its annotation."""
    for kind, types in _BY_DEFAULT:
        if isinstance(default, types):
            is_whole = kind is ArgumentKind.COUNT and "float" in annotation
            return ArgumentKind.NUMBER if is_whole else kind
    stem = name.rstrip("0123456789").rstrip("_")
    if stem in _WORDS or stem.endswith("_prompt"):
        return ArgumentKind.TEXT
    if stem == "image" or stem.endswith("_image"):
        return ArgumentKind.PICTURE
    if stem == "video" or stem.endswith("_video"):
        return ArgumentKind.VIDEO
    if "Tensor" in annotation and stem.endswith(("audio", "waveform", "waveforms")):
        return ArgumentKind.SOUND
    if PICTURE_CLASS in annotation and not stem.endswith(("latents", "embeds")):
        return ArgumentKind.VIDEO if stem.endswith("frames") else ArgumentKind.PICTURES
    return _kind_by_annotation(annotation)


_BY_DEFAULT: tuple[tuple[ArgumentKind, type], ...] = (
    (ArgumentKind.FLAG, bool),
    (ArgumentKind.COUNT, int),
    (ArgumentKind.NUMBER, float),
)


def _kind_by_annotation(annotation: str) -> ArgumentKind:
    """Numbers, truths and words, alone or with `None` or lists of them beside them."""
    named = {*re.findall(r"[\w.]+", annotation)} - {"None", "Optional", "Union"}
    kinds = {
        "int": ArgumentKind.COUNT,
        "float": ArgumentKind.NUMBER,
        "bool": ArgumentKind.FLAG,
        "str": ArgumentKind.TEXT,
    }
    if len(named) == 1:
        return kinds.get(named.pop(), ArgumentKind.OTHER)
    lists = named & {"list", "List", "tuple", "Tuple"}
    others = named - lists - {"torch.Tensor"}
    is_plain = bool(lists) and bool(others) and others <= {"int", "float"}
    return ArgumentKind.NUMBERS if is_plain else ArgumentKind.OTHER
