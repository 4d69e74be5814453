"""Which pipelines of diffusers can be attached: every small one is tried, and a table says how.

`python -m tests.reference.census` tries all, and after each puts its row in
`tests/reference/census.md`. Names as arguments try those alone, and `2/8` the second of eight
parts, which may run at the same time; other rows stay.
"""

from __future__ import annotations

import fcntl
import importlib
import logging
import pkgutil
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import Tensor

import dpnb
from dpnb import ModelOffload, SequentialOffload, StrategyError
from dpnb.nn.compiled import compute_uncompiled
from dpnb.planning.device_profile import DeviceProfile
from dpnb.planning.simulation import Simulation
from dpnb.planning.valueless import ValuelessTensors
from dpnb.planning.valueless_pipeline import build_valueless_pipeline
from dpnb.planning.workload import Workload
from dpnb.strategies.placement import compute_budget_limits
from dpnb.strategies.strategy import Strategy
from tests.pipelines.attached.foreign import everything_of
from tests.reference import foreign
from tests.reference.foreign.case import ForeignCase

FILE = Path(__file__).with_suffix(".md")
DEVICE = "simulated:8GiB/s"
GOOD = "✓"
LONGEST = 120
"""Letters of a reason in the table."""

CLOSE = 0.01
"""How far a predicted peak may be from the counted one, as a part of it."""


@dataclass
class Finding:
    """What came of one pipeline.

    Attributes:
        name: of the case.
        attached: whether its picture was the same as before, bit for bit; else why not.
        streamed: likewise with its weights streamed, in three ways.
        detached: likewise, and whether all attributes were those of before.
        predicted: predicted peak ÷ counted peak; else why there is none.
        seconds: that all of it took.
    """

    name: str
    attached: str = ""
    streamed: str = ""
    detached: str = ""
    predicted: str = ""
    seconds: float = 0.0
    reasons: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether all four came out as they should."""
        return (self.attached, self.streamed, self.detached) == (GOOD,) * 3 and self.is_predicted

    @property
    def is_predicted(self) -> bool:
        """Whether the peak was predicted, and well."""
        is_number = self.predicted.replace(".", "", 1).isdigit()
        return is_number and abs(float(self.predicted) - 1) <= CLOSE


def all_cases() -> Iterator[ForeignCase]:
    """Every small pipeline."""
    for module in pkgutil.iter_modules(foreign.__path__):
        found = vars(importlib.import_module(f"{foreign.__name__}.{module.name}"))
        yield from found.get("CASES", ())


def try_case(case: ForeignCase) -> Finding:
    """Attach, stream, detach and plan one."""
    finding, began = Finding(case.name), time.perf_counter()
    pipe = case.build()
    case.draw(pipe)  # what is made in a first run alone is there now
    plain = case.draw(pipe)
    if not torch.equal(plain, case.draw(pipe)):
        finding.reasons.append("it draws another picture every time")
        return finding
    found = Found.of(case, pipe)
    studio = dpnb.attach(pipe)
    finding.attached = _tell(lambda: _compare(case, pipe, plain))
    finding.predicted = _tell(lambda: _predict(case, studio))
    finding.streamed = _tell(lambda: _stream(case, studio, plain))
    if finding.streamed == GOOD:
        finding.detached = _tell(lambda: _detach(case, studio, plain, found))
    else:  # a call that is broken off may leave marks of its own
        finding.detached = _tell(lambda: _detach_another(case, plain))
    finding.seconds = time.perf_counter() - began
    return finding


def _tell(check: Callable[[], str]) -> str:
    """What a check says, or the error that it ended with."""
    try:
        return check()
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0][:160]}"


def _compare(case: ForeignCase, pipe: Any, plain: Tensor) -> str:
    drawn = case.draw(pipe)
    if drawn.shape != plain.shape:
        return f"{tuple(drawn.shape)} numbers"
    return GOOD if torch.equal(drawn, plain) else f"off by {(drawn - plain).abs().max():.1e}"


def _placements(studio: Any) -> Iterator[Strategy]:
    yield SequentialOffload(device=DEVICE)
    least, most = compute_budget_limits(studio.strategies.networks)
    yield SequentialOffload(device=DEVICE, budget=(least + most) // 2)
    yield ModelOffload(device=DEVICE)


def _stream(case: ForeignCase, studio: Any, plain: Tensor) -> str:
    for placement in _placements(studio):
        with studio.strategies.using(placement):
            if (found := _compare(case, studio.pipe, plain)) != GOOD:
                return f"{placement!r}: {found}"
    return _compare(case, studio.pipe, plain)


def changes(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """Which attributes of which modules are not the same objects any more."""
    return {name for name in {**before, **after} if before.get(name) != after.get(name)}


@dataclass(frozen=True)
class Found:
    """What a pipeline was like before it was attached.

    Attributes:
        everything: that it is made of.
        ever_new: what of that is new after every call.
    """

    everything: dict[str, Any]
    ever_new: set[str]

    @classmethod
    def of(cls, case: ForeignCase, pipe: Any) -> Found:
        """Draws once with the pipeline."""
        before = everything_of(pipe)
        case.draw(pipe)
        after = everything_of(pipe)
        return cls(after, changes(before, after))


def _detach(case: ForeignCase, studio: Any, plain: Tensor, found: Found) -> str:
    pipe = studio.pipe
    studio.detach()
    if (drawn := _compare(case, pipe, plain)) != GOOD:
        return drawn
    changed = changes(found.everything, everything_of(pipe)) - found.ever_new
    return f"changed: {', '.join(sorted(changed)[:3])}" if changed else GOOD


def _detach_another(case: ForeignCase, plain: Tensor) -> str:
    pipe = case.build()
    case.draw(pipe)
    found = Found.of(case, pipe)
    studio = dpnb.attach(pipe)
    case.draw(pipe)
    return _detach(case, studio, plain, found)


def _predict(case: ForeignCase, studio: Any) -> str:
    mode = ValuelessTensors()
    profile = DeviceProfile.from_name("RTX 3060")
    model = build_valueless_pipeline(studio.pipe, mode)
    steps = Exactly(model, mode, Workload(), profile, case.arguments()).run()
    fresh = case.build()
    with compute_uncompiled(), dpnb.record(fresh, "tensors") as trace:
        case.draw(fresh)
    return f"{max(step.peak for step in steps) / trace.growth:.3f}"


class Exactly(Simulation):
    """Simulates a call with the arguments that it is given, and no others."""

    def _arguments(self) -> dict[str, Any]:
        return dict(self._given)


def table(findings: Sequence[Finding]) -> str:
    """The findings as a page."""
    good = sum(finding.is_good for finding in findings)
    ran = [finding for finding in findings if finding.attached]
    kinds = {finding.name.partition(" ")[0] for finding in findings}
    lines = [
        f"# {len(kinds)} pipeline classes of diffusers {diffusers.__version__}, attached",
        "",
        "Small pipelines with random weights on the CPU, made by `tests/reference/foreign/`. "
        f"{good} of {len(ran)} that run came out right in all four columns.",
        "",
        "- **attached**: the picture is the same, bit for bit.",
        "- **streamed**: likewise while weights are streamed: all of them, within a budget, and "
        "network by network; and when that is switched off again.",
        "- **detached**: likewise, and no attribute of anything differs from before.",
        "- **peak**: predicted ÷ counted bytes of tensors.",
        "",
        "| pipeline | attached | streamed | detached | peak |",
        "|---|---|---|---|---|",
    ]
    for one in sorted(findings, key=lambda finding: finding.name.lower()):
        columns = (one.attached, one.streamed, one.detached, one.predicted)
        shown = [_shorten(text) for text in columns]
        if not one.attached:
            shown = [_shorten("; ".join(one.reasons)), "", "", ""]
        lines.append(f"| {one.name} | {' | '.join(shown)} |")
    return "\n".join([*lines, ""])


def _shorten(text: str) -> str:
    """One line of a table."""
    plain = text.partition("\n")[0].replace("|", "¦")
    return plain if len(plain) <= LONGEST else f"{plain[: LONGEST - 1]}…"


def read_table(text: str) -> list[Finding]:
    """The findings of a page."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [_read_row(*cells) for cells in rows if cells[0] != "pipeline"]


def _read_row(name: str, attached: str, *others: str) -> Finding:
    if not others:
        return Finding(name, reasons=[attached])
    streamed, detached, predicted = others
    return Finding(name, attached, streamed, detached, predicted)


def update_table(finding: Finding, names: Sequence[str]) -> None:
    """Put one row into the page, and take out those of pipelines that are none of `names`."""
    with FILE.open("r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # parts of the census may run side by side
        rows = {one.name: one for one in read_table(file.read())} | {finding.name: finding}
        page = table([one for name, one in rows.items() if name in names])
        file.seek(0)
        file.truncate()
        file.write(page)


def select_cases(cases: Sequence[ForeignCase], wanted: Sequence[str]) -> list[ForeignCase]:
    """Those that arguments of the command name, by class, by case or by part; or all."""
    parts = [match for match in (re.fullmatch(r"(\d+)/(\d+)", one) for one in wanted) if match]
    within = {case.name for part in parts for case in cases[int(part[1]) - 1 :: int(part[2])]}
    return [
        case
        for case in cases
        if not wanted or case.name in within or {case.name, case.name.partition(" ")[0]} & {*wanted}
    ]


def main(wanted: Sequence[str]) -> None:
    """Try cases, or all."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    cases = list(all_cases())
    for case in select_cases(cases, wanted):
        try:
            finding = try_case(case)
        except StrategyError as error:
            finding = Finding(case.name, reasons=[str(error)])
        except Exception as error:
            finding = Finding(case.name, reasons=[f"{type(error).__name__}: {error}"[:200]])
        print(f"{finding.seconds:5.1f} s  {finding}", flush=True)
        update_table(finding, [one.name for one in cases])


if __name__ == "__main__":
    main(sys.argv[1:])
