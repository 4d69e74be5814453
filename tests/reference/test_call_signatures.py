"""The arguments of calls and constructors, and their order and defaults, are those of diffusers."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import pytest

import dpnb
from tests.reference.checkpoints import diffusers

NAMES = sorted(
    name
    for name in dpnb.__all__
    if name.endswith("Pipeline") and name != "DiffusionPipeline" and hasattr(diffusers, name)
)

NOT_TAKEN = {
    "ip_adapter_image",
    "ip_adapter_image_embeds",
    "negative_ip_adapter_image",
    "negative_ip_adapter_image_embeds",
    "kwargs",
}
"""Prompts that are pictures are refused in a sentence, and former arguments have names."""

OTHER_DEFAULTS = {
    ("LDMTextToImagePipeline", "prompt"): "it may be given as embeddings",
    (None, "safety_checker"): "it may be left out, and a word is said where a model asks for one",
    (None, "feature_extractor"): "it belongs to the safety checker",
}
"""Why a default is another one: here what must be given there may be left out."""


def parameters(kind: type[Any], method: str) -> dict[str, inspect.Parameter]:
    found: Mapping[str, Any] = inspect.signature(getattr(kind, method)).parameters
    return {name: one for name, one in found.items() if name != "self"}


def both(name: str, method: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return parameters(getattr(diffusers, name), method), parameters(getattr(dpnb, name), method)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", ["__call__", "__init__"])
def test_arguments_have_one_order(name: str, method: str) -> None:
    theirs, ours = both(name, method)
    assert theirs.keys() - ours.keys() <= NOT_TAKEN
    shared = [one for one in theirs if one in ours]
    assert [one for one in ours if one in theirs] == shared


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", ["__call__", "__init__"])
def test_arguments_have_one_default(name: str, method: str) -> None:
    theirs, ours = both(name, method)
    for one in theirs.keys() & ours.keys():
        default, own = theirs[one].default, ours[one].default
        default = tuple(default) if isinstance(default, list) else default
        if default != own:
            assert (name, one) in OTHER_DEFAULTS or (None, one) in OTHER_DEFAULTS
            assert (default, own) == (inspect.Parameter.empty, None)


@pytest.mark.parametrize("name", NAMES)
def test_arguments_are_taken_by_position_up_to_prompts_that_are_pictures(name: str) -> None:
    theirs, ours = both(name, "__call__")
    positional = [one for one, p in ours.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    before = list(theirs)
    refused = next((i for i, one in enumerate(before) if one in NOT_TAKEN), len(before))
    assert positional == before[:refused]
