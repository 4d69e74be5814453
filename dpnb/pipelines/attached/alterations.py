"""What somebody has changed at a component, beside its settings and the values of its weights."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from types import FunctionType, MethodType
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn

from dpnb.errors import StrategyError
from dpnb.loading.weights.meta_init import init_on_meta
from dpnb.pipelines.foreign.adoption import present_settings

HARMLESS = frozenset({"training", "gradient_checkpointing", "use_slicing"})
"""Attributes that do not change what a network computes."""

SAME_NUMBERS = frozenset(
    {"AttnProcessor", "AttnProcessor2_0", "SlicedAttnProcessor", "XFormersAttnProcessor"}
)
"""Attention processors of diffusers that compute what its default one computes."""

FREEU = frozenset({"s1", "s2", "b1", "b2"})
"""Attributes of up-blocks that are there once FreeU is on."""

PLAIN = (bool, int, float, str, tuple, type(None))


def refuse_alteration(name: str, part: nn.Module) -> None:
    """Say why dpnb's network must not stand for the component of this name, where it must not.

    Raises:
        StrategyError: somebody has changed what the component computes.
    """
    if (alteration := find_alteration(part)) is not None:
        raise StrategyError(
            f"dpnb's network cannot stand for {name}, which has {alteration}; take that back, or "
            "leave out what needs dpnb's."
        )


def find_alteration(part: nn.Module) -> str | None:
    """Where a component of diffusers differs from what its class makes of its settings.

    Returns:
        In words, such as "a forward hook at mid_block"; `None` where it does not.
    """
    plain = _made_anew(part)
    found = (
        words
        for path, module in part.named_modules()
        for words in _list_alterations(path, module, plain.get(path))
    )
    return next(found, None)


def _made_anew(part: nn.Module) -> dict[str, nn.Module]:
    """The modules that the class of a component makes of its settings, by name."""
    kind: Any = type(part)
    settings = present_settings(part)
    known, modules = _ANEW.get(part, (None, {}))
    if known != settings:
        with init_on_meta():
            fresh: nn.Module = kind.from_config(settings)
        modules = dict(fresh.named_modules())
        _ANEW[part] = deepcopy(settings), modules
    return modules


_ANEW: WeakKeyDictionary[nn.Module, tuple[dict[str, Any], dict[str, nn.Module]]] = (
    WeakKeyDictionary()
)


def _list_alterations(path: str, module: nn.Module, fresh: nn.Module | None) -> Iterator[str]:
    if type(module) is not type(fresh):
        yield f"{type(module).__name__} as {path}"
        return
    where = f"at {path}" if path else "at itself"
    hooks = (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    # Those around the whole network are called around dpnb's as well.
    if path and not all(map(_is_ours, hooks)):
        yield f"a forward hook {where}"
    made = vars(fresh)
    for name, value in vars(module).items():
        if name in FREEU or (name in made and name not in HARMLESS) or callable(value):
            is_same = name.startswith(("_", "dpnb_")) or _is_same(value, made.get(name))
            if not is_same:
                yield f"{name} of its own {where}"


def _is_ours(hook: Any) -> bool:
    return str(hook.__module__).startswith("dpnb.")


def _is_same(value: Any, made: Any) -> bool:
    """Whether an attribute is what the class makes of it, where that decides what is computed."""
    if isinstance(value, PLAIN):
        return bool(value == made)
    if value is made or not callable(value) or _is_ours(value):
        return True
    kind = type(value)
    if kind.__name__ in SAME_NUMBERS and kind.__module__.startswith("diffusers."):
        return True
    return kind is type(made) and kind not in (FunctionType, MethodType)
