"""A plan, and what it is predicted to cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any

from dpnb.fidelity.visibility import Visibility, words_for
from dpnb.planning.card_memory import CardMemory
from dpnb.planning.plan_names import plan_name
from dpnb.planning.ties import TIE
from dpnb.strategies.plans import plan_from_json, plan_to_json
from dpnb.strategies.strategy import Effect, Plan
from dpnb.units import format_seconds
from dpnb.validation import USUAL, Parsed, Range, from_plain

NOT_NEGATIVE = Range(0, USUAL.high)


@dataclass(frozen=True)
class PlanRow:
    """A plan and its prediction.

    Attributes:
        plan: what is switched on.
        peaks: the most bytes on the device in each stage, weights and all else.
        seconds_per_step: of a denoising step.
        seconds: of the whole run.
        seconds_per_picture: of it.
        bound_by: what its denoising waits for most: `"arithmetic"`, `"memory"`, `"link"`, `"host"`.
        moved: bytes that come from the host in a run.
        difference: the size of what it does to the picture, 0 to 1 (see `difference_size`); `None`
            where that is not known.
        is_slowest: whether the picture decides how long it takes, and this is the longest.
        memory: what a card's allocator, libraries and context make of that; `None` on the CPU.
    """

    plan: Annotated[Plan, Parsed(plan_from_json)]
    peaks: Mapping[str, Annotated[int, NOT_NEGATIVE]]
    seconds_per_step: Annotated[float, NOT_NEGATIVE]
    seconds: Annotated[float, NOT_NEGATIVE]
    seconds_per_picture: Annotated[float, NOT_NEGATIVE]
    bound_by: str
    moved: Annotated[int, NOT_NEGATIVE]
    difference: float | None = None
    is_slowest: bool = False
    memory: CardMemory | None = None

    def __post_init__(self) -> None:
        if not self.peaks:
            raise ValueError("peaks is {}; it must hold the bytes of one stage at least.")

    @property
    def peak(self) -> int:
        """The most bytes of tensors on the device."""
        return max(self.peaks.values())

    @property
    def needed(self) -> int:
        """The most bytes that a budget has to hold: all on a card, or tensors on the CPU."""
        return self.peak if self.memory is None else self.memory.most

    @property
    def least_needed(self) -> int:
        """Likewise, if a card's allocator keeps nothing that is unused."""
        return self.peak if self.memory is None else self.memory.least

    @property
    def name(self) -> str:
        """The strategies, in words."""
        return plan_name(self.plan)

    @property
    def is_exact(self) -> bool:
        """Whether the picture stays as it is, up to rounding."""
        return all(strategy.effect is Effect.EXACT for strategy in self.plan)

    def picture_cells(self) -> tuple[str, str]:
        """What it does to the picture: FLIP's error, and in words."""
        if self.is_exact:
            return "0", str(Visibility.SAME)
        if self.difference is None:
            return "", "unknown"
        return f"{self.difference:.3f}", str(words_for(self.difference))

    def describe_picture(self) -> str:
        """What it does to the picture, for people."""
        number, words = self.picture_cells()
        return words if self.is_exact or not number else f"{number} {words}"

    def describe_time(self) -> str:
        """How long a picture takes, for people; the most where the picture decides."""
        most = "at most " if self.is_slowest else ""
        return f"{most}{format_seconds(self.seconds_per_picture)}"

    def describe_price(self, plain: PlanRow) -> str:
        """What it costs beside another one: "time", "memory", "picture", or several.

        It is "perhaps time" where the picture decides how long it takes, and the longest is longer.

        Args:
            plain: the plan without strategies.
        """
        time = "perhaps time" if self.is_slowest else "time"
        costs = {
            time: self.seconds > (1 + TIE) * plain.seconds,
            "memory": self.peak > (1 + TIE) * plain.peak,
            "picture": not self.is_exact,
        }
        return ", ".join(name for name, is_paid in costs.items() if is_paid) or "nothing"

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        memory = None if self.memory is None else asdict(self.memory)
        return {
            **values,
            "plan": plan_to_json(self.plan),
            "peaks": dict(self.peaks),
            "memory": memory,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PlanRow:
        """What `to_json` has written.

        Raises:
            ValueError: this is no such row.
        """
        return from_plain(cls, values, "row")


def cost_of(row: PlanRow) -> tuple[int, float]:
    """By which plans are compared: the bytes that are needed, and the seconds of the run."""
    return row.needed, row.seconds
