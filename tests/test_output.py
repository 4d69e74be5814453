"""What calls return: attributes, entries and places are the same."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_map

from dpnb.output import Output


@dataclass(eq=False)
class Drawn(Output):
    images: Any
    flags: Any = None
    notes: Any = None


def test_a_field_is_an_attribute_an_entry_and_a_place() -> None:
    drawn = Drawn([1], notes="fine")
    assert drawn.images is drawn["images"] is drawn[0]
    assert (drawn[1], drawn[:2], drawn[-1]) == ("fine", ([1], "fine"), "fine")
    assert drawn.to_tuple() == ([1], "fine")
    assert [*drawn] == [*drawn.keys()] == ["images", "notes"]
    assert isinstance(drawn, dict)
    assert {**drawn} == dict(drawn) == {"images": [1], "notes": "fine"}
    assert "flags" not in drawn
    assert drawn.get("flags", 3) == 3
    with pytest.raises(KeyError):
        drawn["flags"]
    with pytest.raises(IndexError):
        drawn[2]


def test_what_is_set_one_way_is_set_all_ways() -> None:
    drawn = Drawn([1], notes="fine")
    drawn.flags = True
    assert drawn.to_tuple() == ([1], True, "fine")
    drawn["images"] = [2]
    assert drawn.images == drawn[0] == [2]
    drawn.update({"flags": None}, notes="late")
    assert drawn.to_tuple() == ([2], "late")
    assert (drawn.flags, [*drawn]) == (None, ["images", "notes"])
    vars(drawn)["other"] = 5
    assert len(drawn) == 2


def test_nothing_is_added_and_nothing_removed() -> None:
    drawn: Any = Drawn([1])
    with pytest.raises(TypeError, match=r"^Drawn has no field 'x'; it has images, flags, notes\.$"):
        drawn["x"] = 1
    with pytest.raises(TypeError, match="cannot be removed; set one to None"):
        del drawn["images"]
    for remove in (drawn.clear, drawn.popitem, lambda: drawn.pop("images")):
        with pytest.raises(TypeError, match="cannot be removed"):
            remove()
    with pytest.raises(TypeError, match="cannot be removed"):
        drawn.setdefault("flags", 1)
    assert drawn.to_tuple() == ([1],)


@pytest.mark.parametrize(
    "make", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies_are_of_its_kind(make: Any) -> None:
    drawn = Drawn(torch.ones(2), notes="fine")
    made = make(drawn)
    assert type(made) is Drawn
    assert torch.equal(made.images, drawn.images)
    assert made.to_tuple()[1:] == ("fine",)
    made.images = None
    assert drawn.images is not None


def test_what_walks_through_mappings_rebuilds_it() -> None:
    drawn = Drawn(torch.ones(2), notes=torch.zeros(1))
    moved = tree_map(lambda t: t + 1, drawn)
    assert (type(moved), moved.images.tolist(), moved.notes.tolist()) == (Drawn, [2, 2], [1])
    built = Drawn({name: value * 3 for name, value in drawn.items()})
    assert (built.images.tolist(), built.flags, built.notes.tolist()) == ([3, 3], None, [0])
    assert Drawn({"pictures": 1}).images == {"pictures": 1}


def test_a_plain_tuple_has_every_field() -> None:
    drawn = Drawn([1], notes="fine")
    assert drawn.as_asked(True) is drawn
    plain: Any = drawn.as_asked(False)
    assert (type(plain), plain) == (tuple, ([1], None, "fine"))


def test_a_compiled_function_may_return_one() -> None:
    def double(x: torch.Tensor) -> Drawn:
        return Drawn(x * 2, notes=x + 1)

    compiled: Any = torch.compile(double, backend="eager", fullgraph=True)
    made = compiled(torch.ones(2))
    assert (type(made), made.images.tolist(), made["notes"].tolist()) == (Drawn, [2, 2], [2, 2])


def test_an_output_may_have_no_fields() -> None:
    @dataclass
    class Nothing(Output):
        pass

    assert Nothing() == Nothing()
    assert dict(Nothing()) == {}
