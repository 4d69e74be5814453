"""What weight files are called: the one place where their names are taken apart and put together.

The names are those of diffusers and transformers. Of one model, a folder may hold several *kinds*
side by side: without a variant, and one per variant such as `fp16`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Extension = Literal["safetensors", "bin"]

PIPELINE_INDEX = "model_index.json"
"""The file at the top of a pipeline's folder."""

_NAME = re.compile(
    r"(?P<stem>[^.]+?)"
    r"(?:\.(?P<variant>[^.]+?))?"
    r"(?:-(?P<number>\d{5})-of-(?P<total>\d{5}))?"
    r"(?:\.(?P<late_variant>[^.]+))?"
    r"\.(?P<extension>safetensors|bin)"
    r"(?P<index>\.index(?:\.(?P<index_variant>[^.]+))?\.json"
    r"|\.(?P<late_index_variant>[^.]+)\.index\.json)?"
)
_STEMS = {
    "diffusion_pytorch_model": "diffusion_pytorch_model",
    "model": "model",
    "pytorch_model": "model",
}


@dataclass(frozen=True)
class WeightName:
    """A weight file's name, taken apart.

    Attributes:
        stem: `"diffusion_pytorch_model"`, or `"model"` for what transformers wrote.
        number: which shard it is, from 1; `None` for a whole file or an index.
        is_index: the JSON file that says which shard holds which tensor.
    """

    stem: str
    variant: str | None
    extension: Extension
    number: int | None = None
    total: int | None = None
    is_index: bool = False

    @classmethod
    def parse(cls, name: str) -> WeightName | None:
        """The parts of the file name `name`; `None` if it is not that of a weight file.

        The older forms, with the variant after the shard's number or before `.index`, count too.
        """
        match = _NAME.fullmatch(name)
        if match is None or match["stem"] not in _STEMS:
            return None
        places = ("variant", "late_variant", "index_variant", "late_index_variant")
        variants = [match[place] for place in places if match[place] is not None]
        if len(variants) > 1:
            return None
        return cls(
            stem=_STEMS[match["stem"]],
            variant=variants[0] if variants else None,
            extension="bin" if match["extension"] == "bin" else "safetensors",
            number=int(match["number"]) if match["number"] else None,
            total=int(match["total"]) if match["total"] else None,
            is_index=match["index"] is not None,
        )

    @property
    def kind(self) -> tuple[str, str | None]:
        """What a save replaces as a whole: the stem and the variant, whatever the format."""
        return self.stem, self.variant


def weight_name(
    stem: str, extension: Extension, variant: str | None, shard: tuple[int, int] | None = None
) -> str:
    """The name of a whole file, or of shard `(number, total)`, in today's form."""
    numbered = f"-{shard[0]:05d}-of-{shard[1]:05d}" if shard else ""
    return f"{_file_stem(stem, extension)}{_dotted(variant)}{numbered}.{extension}"


def index_name(stem: str, extension: Extension, variant: str | None) -> str:
    """The name of the JSON file beside shards, in today's form."""
    return f"{_file_stem(stem, extension)}.{extension}.index{_dotted(variant)}.json"


def is_bare(name: object) -> bool:
    """Whether `name` is a plain file name, which cannot lead out of its folder."""
    return isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\\0")


def _file_stem(stem: str, extension: Extension) -> str:
    return "pytorch_model" if (stem, extension) == ("model", "bin") else stem


def _dotted(variant: str | None) -> str:
    return "" if variant is None else f".{variant}"
