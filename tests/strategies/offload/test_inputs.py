from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dpnb.strategies.offload.inputs import bring_inputs

AWAY = torch.device("meta")


def devices(*args: Any, **kwargs: Any) -> Any:
    """Where the tensors of a call are."""
    return torch.utils._pytree.tree_map_only(Tensor, lambda t: t.device.type, (args, kwargs))


def test_tensors_come_from_wherever_they_are() -> None:
    here, there = torch.ones(1), torch.ones(1, device=AWAY)
    call = bring_inputs(devices, AWAY)
    assert call(here, 3, x=there) == (("meta", 3), {"x": "meta"})
    assert call([here, (there, {"y": here})], x={"z": [here]}) == (
        (["meta", ("meta", {"y": "meta"})],),
        {"x": {"z": ["meta"]}},
    )


def test_what_is_there_already_is_handed_on_as_it_is() -> None:
    given = {"x": [torch.ones(1)], "y": torch.ones(1)}
    seen: list[Any] = []

    def note(*args: Any, **kwargs: Any) -> None:
        seen.extend((args[0], kwargs["y"]))

    bring_inputs(note, torch.device("cpu"))(given, y=given["y"])
    assert seen[0] is given
    assert seen[1] is given["y"]
