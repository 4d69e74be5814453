"""What a strategy is: a value that says what is switched on, and knows how to switch it on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, fields
from enum import Enum, IntEnum
from importlib import import_module
from itertools import pairwise
from typing import Any, ClassVar, TypeAlias

import torch
from typing_extensions import Self, override

from dpnb.errors import MissingPackageError, StrategyError
from dpnb.numbers import coerce_numbers, to_builtin
from dpnb.stages import Stage
from dpnb.strategies.networks import Networks
from dpnb.strategies.undo import Undo
from dpnb.validation import hints_of, validate


class Slot(IntEnum):
    """Where a strategy acts. Lower slots come first: structure, placement, computation."""

    NETWORK = 0
    PROJECTION = 1
    PRECISION = 2
    STORAGE = 3
    LAYOUT = 4
    WEIGHTS = 5
    QUANTIZATION = 6
    CONDITIONING = 7
    PLACEMENT = 8
    KERNEL = 9
    KERNEL_WRAPPER = 10
    TOKENS = 11
    MERGE_SKIP = 12
    DECODER = 13
    CODER = 14
    CODER_WRAPPER = 15
    GUIDANCE = 16
    GUIDANCE_SPAN = 17
    REUSE = 18
    COMPILATION = 19


class Effect(Enum):
    """What a strategy does to the picture."""

    EXACT = "the same picture, up to rounding"
    APPROXIMATE = "nearly the same picture"
    STYLISTIC = "another picture, on purpose"


@dataclass(frozen=True)
class Strategy(ABC):
    """A reversible change to a pipeline that trades memory, latency or quality."""

    slot: ClassVar[Slot]
    relieves: ClassVar[frozenset[Stage]] = frozenset()
    """The stages of a run whose memory it lowers."""
    label: ClassVar[str] = ""
    """What people call it, where that is not the words of its name."""
    package: ClassVar[str | None] = None
    """One that dpnb can do without, and this strategy cannot."""
    unpredicted: ClassVar[str] = ""
    """Why a plan with it cannot be predicted, as a sentence, where that is so."""
    presets: ClassVar[Mapping[str, str]] = {}
    """Settings that have a name: the method of the class that makes them → what people call it."""

    def __post_init__(self) -> None:
        coerce_numbers(self)

    @property
    def effect(self) -> Effect:
        """What it does to the picture."""
        return Effect.EXACT

    @property
    def needs(self) -> tuple[type[object], ...]:
        """Classes of dpnb's networks that it acts on.

        A component of an attached pipeline that is one of them, written by others, is exchanged for
        dpnb's own while this is on; its tensors stay the same.
        """
        return ()

    @abstractmethod
    def apply(self, networks: Networks, undo: Undo) -> None:
        """Change `networks`, making every edit through `undo`."""

    def obstacle(self, networks: Networks) -> str | None:
        """What stops this strategy here, as a sentence that says what to do; else `None`."""
        return None

    def step_kinds(self, networks: Networks, total: int) -> tuple[Hashable, ...] | None:
        """For each of `total` steps what it is like: steps of one kind cost the same.

        `None` where all do that come after the first.
        """
        return None

    def saves_by_picture(self, networks: Networks) -> bool:
        """Whether it saves time or not as the picture wants, which no prediction knows."""
        return False

    def refusal(self, reason: str) -> StrategyError:
        """What is raised where `reason` stops it."""
        try:
            if self.package is not None:
                import_module(self.package)
        except ImportError:
            return MissingPackageError(reason)
        return StrategyError(reason)

    def execution_device(self, networks: Networks) -> torch.device | None:
        """Where it lets the networks compute; `None` leaves that alone."""
        return None

    @classmethod
    def summary(cls) -> str:
        """The first line of its documentation."""
        return (cls.__doc__ or "").strip().splitlines()[0]

    def to_json(self) -> dict[str, Any]:
        """Its name and its fields, as plain JSON values."""
        return {"strategy": type(self).__name__} | {
            field.name: _plain(getattr(self, field.name)) for field in fields(self)
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The strategy whose fields `values` are; lists become tuples.

        Raises:
            ValueError: there is a key that is no field, or a value is not of its field's type.
        """
        given = {name: value for name, value in values.items() if name != "strategy"}
        unknown = sorted(given.keys() - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(
                f"{cls.__name__} has no {', '.join(unknown)}; it has "
                f"{', '.join(field.name for field in fields(cls)) or 'no fields'}."
            )
        hints = hints_of(cls)
        name = cls.__name__
        return cls(**{key: validate(hints[key], v, f"{name}.{key}") for key, v in given.items()})

    @override
    def __repr__(self) -> str:
        given = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)
            if getattr(self, field.name) != field.default
        ]
        return f"{type(self).__name__}({', '.join(given)})"


Plan: TypeAlias = frozenset[Strategy]


def in_order(plan: Iterable[Strategy]) -> list[Strategy]:
    """The strategies of a plan in the order in which they are applied."""
    return sorted(plan, key=lambda strategy: (strategy.slot, repr(strategy)))


def check(plan: Collection[Strategy]) -> None:
    """Refuse what contradicts itself.

    Raises:
        StrategyError: two of the strategies fill one slot.
        TypeError: something is not a strategy.
    """
    for item in plan:
        if not isinstance(item, Strategy):
            raise TypeError(
                f"{item!r} is not a strategy; make one, for example AttentionSlicing()."
            )
    ordered = in_order(plan)
    for one, other in pairwise(ordered):
        if one.slot == other.slot and one != other:
            raise StrategyError(
                f"{one} and {other} contradict each other: both decide the "
                f"{one.slot.name.lower().replace('_', ' ')}; choose one of them."
            )


def read_plan(plan: Strategy | Iterable[Strategy]) -> Plan:
    """Strategies, of which there may be one by itself, as a plan that does not contradict itself.

    Raises:
        StrategyError: two of the strategies fill one slot.
        TypeError: something is not a strategy.
    """
    given: Any = plan
    is_several = isinstance(given, Iterable) and not isinstance(given, str)
    items: list[Any] = list(given) if is_several else [given]
    check(items)
    return frozenset(items)


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else to_builtin(value)
