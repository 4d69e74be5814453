from __future__ import annotations

import pytest
import torch
from torch import nn

from dpnb.strategies.undo import Undo


class Slot:
    """Something with a value that may be exchanged."""

    def __init__(self) -> None:
        self.value = 0


class Faulty:
    """An inverse that fails some times before it works.

    Args:
        errors: what it raises, one after the other.
    """

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.done = 0

    def __call__(self) -> None:
        """Raise, or count."""
        if self.errors:
            raise self.errors.pop(0)
        self.done += 1


def test_what_is_set_is_set_back_last_first() -> None:
    slot, undo = Slot(), Undo()
    for value in (1, 2, 3):
        undo.set(slot, "value", value)
    assert slot.value == 3
    undo.close()
    assert slot.value == 0


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_interrupt_is_held_until_all_is_undone(place: int) -> None:
    undo, slot = Undo(), Slot()
    steps = [Faulty(KeyboardInterrupt()) if n == place else Faulty() for n in range(3)]
    undo.set(slot, "value", 1)
    for step in steps:
        undo.callback(step)
    with pytest.raises(KeyboardInterrupt):
        undo.close()
    assert [step.done for step in steps] == [1, 1, 1]
    assert slot.value == 0


def test_what_fails_once_is_done_again() -> None:
    undo, step = Undo(), Faulty(OSError("the disk is busy"))
    undo.callback(step)
    undo.close()
    assert step.done == 1


def test_what_fails_twice_stays_to_be_done_later() -> None:
    undo, slot = Undo(), Slot()
    first, second = Faulty(), Faulty(OSError("gone"), OSError("gone"))
    undo.set(slot, "value", 1)
    undo.callback(first)
    undo.callback(second)
    with pytest.raises(OSError, match="gone"):
        undo.close()
    assert (first.done, second.done, slot.value) == (0, 0, 1)
    undo.close()
    assert (first.done, second.done, slot.value) == (1, 1, 0)


@pytest.mark.parametrize("options", [{}, {"with_kwargs": True}, {"prepend": True}])
def test_hooks_are_gone_afterwards_and_others_stay(options: dict[str, bool]) -> None:
    layer, undo = nn.Linear(2, 2), Undo()
    seen: list[str] = []
    kept = layer.register_forward_hook(lambda *_: seen.append("kept"))
    before = {name: value for name, value in vars(layer).items() if "hook" in name}
    state = {name: dict(value) for name, value in before.items() if isinstance(value, dict)}
    undo.before(layer, lambda *_: seen.append("before"), **options)
    undo.after(layer, lambda *_: seen.append("after"), always_call=True, **options)
    layer(torch.ones(1, 2))
    assert sorted(seen) == ["after", "before", "kept"]
    undo.close()
    assert {name: dict(vars(layer)[name]) for name in state} == state
    layer(torch.ones(1, 2))
    assert seen[3:] == ["kept"]
    kept.remove()


def test_an_edit_that_was_announced_and_not_made_is_undone_too() -> None:
    layer, undo = nn.Linear(2, 2), Undo()
    with pytest.raises(TypeError, match="unexpected keyword"):
        undo.before(layer, lambda *_: None, nonsense=True)
    undo.close()
    assert not layer._forward_pre_hooks


def test_an_attribute_of_the_class_alone_is_so_again() -> None:
    class Named:
        name = "of all"

    named, undo = Named(), Undo()
    undo.set_own(named, "name", "one")
    undo.set_own(named, "name", "two")
    undo._inverses[-1]()
    assert vars(named) == {"name": "one"}
    undo.close()
    assert vars(named) == {}
    assert named.name == "of all"


def test_tensors_of_one_memory_have_one_again() -> None:
    plain, undo = torch.ones(3), Undo()
    tied = [nn.Parameter(plain), nn.Parameter(plain)]
    undo.keep_data(tied, plain.clone)
    for one in tied:
        one.data = torch.zeros(3)
    undo.close()
    assert tied[0].data_ptr() == tied[1].data_ptr()
    assert torch.equal(tied[0], plain)
