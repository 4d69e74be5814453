"""Components by name: read alike by all strategies, and told where they are not there."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from dpnb.strategies.catalog import CATALOG
from dpnb.strategies.named_components import parse_components
from dpnb.strategies.placement import ModelOffload, SequentialOffload
from dpnb.strategies.strategy import Strategy
from tests.strategies.pipes import build

KINDS: list[Any] = [
    kind for kind in CATALOG if "components" in {field.name for field in fields(kind)}
]


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_read_in_every_form(kind: Any) -> None:
    wanted = kind(components=("unet",))
    for form in ("unet", ["unet"], {"unet"}, ("unet", "unet"), iter(["unet"])):
        assert kind(components=form) == wanted
        assert hash(kind(components=["unet"])) == hash(wanted)
    for wrong in (5, None, {"unet": 1}, (1, 2), b"unet"):
        with pytest.raises(TypeError, match=r"components is .*give names of components"):
            kind(components=wrong)


@pytest.mark.parametrize("kind", [ModelOffload, SequentialOffload])
def test_names_of_those_that_stay_are_read_so_too(kind: Any) -> None:
    assert kind(exclude="vae") == kind(exclude=["vae"]) == kind(exclude=("vae",))
    with pytest.raises(TypeError, match="exclude is 5; give names"):
        kind(exclude=5)


def test_a_set_of_names_has_an_order() -> None:
    assert parse_components("components", {"vae", "unet", "text_encoder"}) == (
        "text_encoder",
        "unet",
        "vae",
    )


def test_names_that_are_not_there_are_told() -> None:
    pipe = build("tiny-sd")
    for kind in KINDS:
        strategy: Strategy = kind(components=("unet", "brain"))
        reason = str(pipe.strategies.obstacle(strategy))
        assert "names brain, and there are text_encoder, unet, vae." in reason
