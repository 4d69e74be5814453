"""What the parts of a pipeline are there for, so that one is not given in place of another."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from torch import nn

from dpnb.errors import ComponentError
from dpnb.loading.model_index import ComponentClass
from dpnb.schedulers.scheduler import Scheduler


class Role(Enum):
    """What a part does in a pipeline, in words."""

    NETWORK = "a network"
    SCHEDULER = "a scheduler"
    TOKENIZER = "a tokenizer"
    PROCESSOR = "a processor of pictures"


WORDS = {
    Role.SCHEDULER: r"Scheduler$",
    Role.TOKENIZER: r"Tokenizer(Fast)?$",
    Role.PROCESSOR: r"(Processor|FeatureExtractor)(Fast|Pil)?$",
}
"""What the names of their classes end with, but for those of networks."""

BASES = {Role.TOKENIZER: "PreTrainedTokenizerBase", Role.PROCESSOR: "ImageProcessingMixin"}
"""The names of classes of transformers that all of a kind are derived from."""


def check_roles(given: Mapping[str, Any], entries: Mapping[str, ComponentClass | None]) -> None:
    """Refuse parts that are evidently something else than what a pipeline needs in their place.

    What is none of these kinds, such as a function, is taken as it is.

    Args:
        given: parts by name.
        entries: the library and the class that the pipeline's index has for each.

    Raises:
        ComponentError: one is.
    """
    for name, part in given.items():
        entry = entries.get(name)
        if entry is None or part is None:
            continue
        library, class_name = entry
        if isinstance(part, (str, Path)):
            raise ComponentError(
                f"{name} is {reprlib.repr(str(part))}; give the part itself, as "
                f"{class_name}.from_pretrained(...) of {library} returns it."
            )
        expected, own = _role_by_name(class_name), _role_of(part)
        if own is not None and own is not expected:
            raise ComponentError(
                f"{name} is a {type(part).__name__}, which is {own.value}; give {expected.value} "
                f"there, such as a {class_name}, or leave it out to load the checkpoint's."
            )


def _role_by_name(class_name: str) -> Role:
    found = (role for role, form in WORDS.items() if re.search(form, class_name))
    return next(found, Role.NETWORK)


def _role_of(part: Any) -> Role | None:
    if isinstance(part, nn.Module):
        return Role.NETWORK
    if isinstance(part, Scheduler):
        return Role.SCHEDULER
    bases = {base.__name__ for base in type(part).__mro__}
    return next((role for role, base in BASES.items() if base in bases), None)
