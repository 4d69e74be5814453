"""What a sweep with quality has measured, made up."""

from __future__ import annotations

from dataclasses import dataclass, field

from dpnb.planning.workload import Workload
from dpnb.strategies.strategy import Plan


@dataclass(frozen=True)
class Compared:
    """Plans, and the sizes of what they do to the picture."""

    model: str
    costs: tuple[tuple[Plan, float], ...]
    workload: Workload = field(default_factory=lambda: Workload(height=32, width=32, steps=2))
    dtype: str | None = "float16"

    def picture_costs(self) -> tuple[tuple[Plan, float], ...]:
        return self.costs
