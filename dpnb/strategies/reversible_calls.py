"""Calls of methods that change a network in ways that only they know, with an exact way back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import nn

from dpnb.strategies.networks import first_device
from dpnb.strategies.undo import Undo

Contents: TypeAlias = dict[Any, Any]
"""What a dictionary holds, by its keys: references, and no copies."""

NESTED = (dict, OrderedDict)
"""Attributes of which the entries are remembered as well: children, parameters, buffers, hooks."""

ABSENT = object()


def call_reversibly(network: nn.Module, call: Callable[[], object], undo: Undo) -> None:
    """Let `call` change the modules of `network`; what it has changed is put back by `undo`.

    Random numbers are drawn after it as they would have been without it.

    Args:
        network: the network.
        call: may set, add and remove attributes, children, parameters, buffers, hooks and attention
            processors, and change classes; it leaves the values of tensors alone.
        undo: takes the inverse. What others have changed since the call stays.
    """
    memory = _Memory(network)
    undo.callback(memory.restore)
    device = first_device(network)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        call()
    memory.keep_changes()


@dataclass(frozen=True)
class _Change:
    """An entry of a dictionary that has become another."""

    holder: Contents
    key: Any
    before: Any

    def restore(self) -> None:
        if self.before is ABSENT:
            self.holder.pop(self.key, None)
        else:
            self.holder[self.key] = self.before


class _Memory:
    """What the modules of a network held before a call, and of that what the call has changed."""

    def __init__(self, network: nn.Module) -> None:
        owners = list(_owners(network))
        self._classes: list[tuple[Any, type]] = [(owner, type(owner)) for owner in owners]
        self._contents = [(holder, dict(holder)) for own in owners for holder in _holders(own)]
        self._changes: list[_Change] | None = None

    def keep_changes(self) -> None:
        """Forget what the call has left alone."""
        changed = [(holder, before) for holder, before in self._contents if _differ(holder, before)]
        self._changes = list(_list_changes(changed))
        self._contents = [(holder, before) for holder, before in changed if before.keys() - holder]
        self._classes = [(owner, kind) for owner, kind in self._classes if type(owner) is not kind]

    def restore(self) -> None:
        """Put back what the call has changed; all that differs, where it has not returned."""
        changes = _list_changes(self._contents) if self._changes is None else self._changes
        for change in list(changes):
            change.restore()
        for owner, kind in self._classes:
            owner.__class__ = kind
        for holder, before in self._contents:
            _reorder(holder, before)


def _owners(network: nn.Module) -> Iterator[object]:
    """The modules of a network, and the attention processors that are none."""
    seen: set[int] = set()
    for module in network.modules():
        yield module
        processor = vars(module).get("processor")
        if id(processor) not in seen and "__dict__" in dir(processor):
            seen.add(id(processor))
            yield processor


def _holders(owner: object) -> Iterator[Contents]:
    """The attributes of an object, and those of them that are dictionaries."""
    own = vars(owner)
    yield own
    yield from (value for value in own.values() if type(value) in NESTED)


def _differ(holder: Contents, before: Contents) -> bool:
    same = len(holder) == len(before) and list(holder) == list(before)
    return not same or any(holder[key] is not value for key, value in before.items())


def _list_changes(contents: list[tuple[Contents, Contents]]) -> Iterator[_Change]:
    for holder, before in contents:
        for key in {**before, **holder}:
            value = before.get(key, ABSENT)
            if holder.get(key, ABSENT) is not value:
                yield _Change(holder, key, value)


def _reorder(holder: Contents, before: Contents) -> None:
    """Let entries stand in the order in which they stood; new ones come first."""
    if [key for key in holder if key in before] != list(before):
        for key in before:
            if key in holder:
                holder[key] = holder.pop(key)
