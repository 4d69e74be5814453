"""What was asked for, and what was switched on, in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from dpnb.metering.trace import RunTrace
from dpnb.planning.plan_names import NOTHING
from dpnb.stages import Stage
from dpnb.strategies.settings import describe_strategy
from dpnb.strategies.strategy import Plan, in_order
from dpnb.widgets.scheduler_choice import short_scheduler_name
from dpnb.widgets.state import FinishedRun, Request

PICTURE_ALONE = frozenset({"prompt", "negative_prompt", "seed", "pictures"})
"""What a request says that changes the picture, and neither time nor memory."""

WORDS = {
    "prompt": "prompt",
    "negative_prompt": "negative prompt",
    "steps": "steps",
    "guidance_scale": "guidance",
    "width": "width",
    "height": "height",
    "seed": "seed",
    "count": "pictures",
    "scheduler": "scheduler",
    "strength": "strength",
    "pictures": "picture given",
    "more": "further arguments",
}
"""The fields of a request, for people."""


def describe_plan(plan: Plan) -> str:
    """The strategies of a plan, for people."""
    return ", ".join(describe_strategy(strategy) for strategy in in_order(plan)) or NOTHING


def describe_switches(run: FinishedRun) -> str:
    """What was on when a run began, and what was switched at which step of it."""
    [trace] = run.trace.runs
    flips = [
        f"{event.text} {_place(trace, event.time)}"
        for event in run.trace.events
        if event.time >= trace.start
    ]
    began = describe_plan(run.plan)
    flips += [trace.reuse] if trace.reuse else []
    return "; ".join([began, *flips]) if run.plan or not flips else "; ".join(flips)


def _place(trace: RunTrace, time: float) -> str:
    """Before which step of a run something happened."""
    later = next((step for step in trace.steps if step.start + step.duration > time), None)
    if later is None:
        return "at the end"
    return (
        f"at step {later.index + 1}" if later.stage is Stage.DENOISING else f"before {later.stage}"
    )


def request_in_words(request: Request | None) -> str:
    """All that a request says, in one line."""
    return "begun from a cell" if request is None else " · ".join(_parts(request))


def _parts(request: Request) -> Iterator[str]:
    if request.prompt:
        yield request.prompt
    if request.negative_prompt:
        yield f"not: {request.negative_prompt}"
    yield f"seed {request.seed}"
    if request.steps is not None:
        yield f"{request.steps} steps"
    if request.width is not None and request.height is not None:
        yield f"{request.width} × {request.height}"
    if request.count > 1:
        yield f"{request.count} pictures"
    if request.scheduler is not None:
        yield short_scheduler_name(request.scheduler)
    if request.guidance_scale is not None:
        yield f"guidance {request.guidance_scale:g}"
    if request.strength is not None:
        yield f"strength {request.strength:g}"
    yield from (f"{name} given" for name, _ in request.pictures)
    yield from (
        f"{name} {value}" if isinstance(value, (str, int, float)) else f"{name} given"
        for name, value in request.more
    )


def differing_fields(one: Request, other: Request) -> list[str]:
    """The names of the fields in which two requests differ."""
    names = [field.name for field in fields(Request) if field.name in WORDS]
    return [name for name in names if getattr(one, name) != getattr(other, name)]


def describe_differences(one: Request, other: Request, names: list[str]) -> str:
    """In what `one` differs from `other`, for example "20 steps instead of 60"."""
    said = []
    for name in names:
        ours, theirs = getattr(one, name), getattr(other, name)
        if name == "scheduler":
            ours, theirs = (short_scheduler_name(n) if n else "its own" for n in (ours, theirs))
        if isinstance(ours, (int, float)) and isinstance(theirs, (int, float)):
            said.append(f"{WORDS[name]} {ours:g} instead of {theirs:g}")
        elif name == "scheduler":
            said.append(f"{ours} instead of {theirs}")
        else:
            said.append(f"another {WORDS[name]}")
    return ", ".join(said)
