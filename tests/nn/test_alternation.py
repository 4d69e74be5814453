from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from dpnb.nn.alternation import make_in_turn


def test_layers_are_made_in_turn() -> None:
    made: list[str] = []

    def make(name: str, count: int) -> Iterator[nn.Module]:
        for _ in range(count):
            made.append(name)
            yield nn.Identity()

    resnets, attentions = make_in_turn(make("resnet", 3), make("attention", 2))
    assert made == ["resnet", "attention", "resnet", "attention", "resnet"]
    assert (len(resnets), len(attentions)) == (3, 2)
