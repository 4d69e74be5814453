"""What a block is made of, looked at with every call: code is right for what it was made from."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from operator import is_
from types import ModuleType
from typing import Any

from torch import Tensor, nn


class BlockContents:
    """What a block is made of beside its weights: parts, hooks on these, slots, plain attributes.

    A slot may be filled otherwise for a single call, as some guidances do, and anybody may set an
    attribute. Hooks on the block itself lie around what it computes, and do not count.

    Args:
        block: the block as it is now.

    Attributes:
        names: of its parameters and buffers.
    """

    def __init__(self, block: nn.Module) -> None:
        named = list(block.named_modules())
        parts = [part for _, part in named]
        self._weights: list[dict[str, Any]] = [
            kept for part in parts for kept in (part._parameters, part._buffers)
        ]
        self.names = tuple(
            f"{prefix}.{key}" if prefix else key
            for prefix, part in named
            for kept in (part._parameters, part._buffers)
            for key, value in kept.items()
            if value is not None
        )
        self._mappings: list[dict[Any, Any]] = [vars(part) for part in parts]
        self._mappings += [part._modules for part in parts]
        self._mappings += [part._forward_hooks for part in parts[1:]]
        self._mappings += [part._forward_pre_hooks for part in parts[1:]]
        self._collections: list[list[Any] | set[Any]] = []
        usual = vars(nn.Module())
        for value in chain.from_iterable(
            [value for key, value in vars(part).items() if key not in usual] for part in parts
        ):
            self._look_into(value)
        weights = chain.from_iterable(map(dict.values, self._weights))
        self._present = [weight is not None for weight in weights]
        self._is_full = all(self._present)
        self._known = list(self._contents())

    def _look_into(self, value: object) -> None:
        """What an attribute holds may change while the attribute stays the same object."""
        if isinstance(value, dict):
            self._mappings.append(value)
        elif isinstance(value, list | set):
            self._collections.append(value)
        elif not isinstance(value, type | ModuleType | Tensor | nn.Module):
            try:
                self._mappings.append(vars(value))
            except TypeError:
                return  # it has no attributes

    def find_weights(self) -> list[Tensor] | None:
        """Its weights as they are now, in the order of `names`; `None` where it is made otherwise.

        Weights of other shapes and dtypes are weights all the same.
        """
        count = sum(map(len, self._mappings)) + sum(map(len, self._collections))
        if count != len(self._known) or not all(map(is_, self._contents(), self._known)):
            return None
        weights = list(chain.from_iterable(map(dict.values, self._weights)))
        if [weight is not None for weight in weights] != self._present:
            return None
        return weights if self._is_full else [one for one in weights if one is not None]

    def _contents(self) -> Iterator[Any]:
        held = chain.from_iterable(map(dict.values, self._mappings))
        return chain(held, chain.from_iterable(self._collections))
