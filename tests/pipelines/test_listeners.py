from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch

import dpnb
from dpnb.pipelines.listeners import Run
from dpnb.run_listener import RunListener
from dpnb.stages import Stage, Step

STEPS = {"num_inference_steps": 2, "output_type": "np"}
WHOLE = [
    "begin run",
    *["begin text", "end text 0"],
    *["begin denoising", "end denoising 0"],
    *["begin denoising", "end denoising 1"],
    *["begin decoding", "end decoding 0"],
    "end run None",
]


class Diary(RunListener[Run]):
    """Writes down everything that it hears."""

    def __init__(self, name: str = "", shared: list[str] | None = None) -> None:
        self.name = name
        self.heard: list[str] = [] if shared is None else shared

    def begin_run(self, run: Run) -> None:
        self.heard.append(f"{self.name}begin run")

    def begin_step(self, run: Run, stage: Stage) -> None:
        self.heard.append(f"{self.name}begin {stage.value}")

    def end_step(self, run: Run, step: Step) -> None:
        self.heard.append(f"{self.name}end {step.stage.value} {step.index}")

    def end_run(self, run: Run, error: BaseException | None) -> None:
        self.heard.append(f"{self.name}end run {type(error).__name__ if error else None}")


@pytest.fixture(scope="module")
def tiny() -> Any:
    pipe = dpnb.random_pipeline("tiny-sd")
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def pipe(tiny: Any) -> Iterator[Any]:
    yield tiny
    assert list(tiny.listeners) == []
    assert torch.is_grad_enabled()


def fail(pipe: Any, index: int, t: Any, tensors: dict[str, Any]) -> dict[str, Any]:
    raise RuntimeError("enough")


def stop(pipe: Any, index: int, t: Any, tensors: dict[str, Any]) -> dict[str, Any]:
    pipe._interrupt = True
    return tensors


def test_a_listener_hears_every_step_and_both_ends(pipe: Any) -> None:
    diary = Diary()
    unwatch = pipe.watch(diary)
    pipe("a cat", **STEPS)
    unwatch()
    assert diary.heard == WHOLE
    pipe("a cat", **STEPS)
    assert diary.heard == WHOLE


@pytest.mark.parametrize("name", ["tiny-sdxl", "tiny-sd"])
def test_every_pipeline_is_heard(name: str) -> None:
    pipe, diary = dpnb.random_pipeline(name), Diary()
    pipe.set_progress_bar_config(disable=True)
    pipe.watch(diary)
    pipe("a cat", **STEPS)
    assert diary.heard == WHOLE


def test_a_step_is_heard_before_the_caller_has_it_and_the_next_begins_when_it_is_asked_for(
    pipe: Any,
) -> None:
    diary = Diary()
    unwatch = pipe.watch(diary)
    steps = pipe.stream("a cat", **STEPS)
    assert diary.heard == []
    next(steps)
    assert diary.heard == WHOLE[:3]
    next(steps)
    assert diary.heard == WHOLE[:5]
    list(steps)
    unwatch()
    assert diary.heard == WHOLE


def test_an_error_ends_a_run_and_reaches_the_caller(pipe: Any) -> None:
    diary = Diary()
    unwatch = pipe.watch(diary)
    with pytest.raises(RuntimeError, match="enough"):
        pipe("a cat", callback_on_step_end=fail, **STEPS)
    unwatch()
    assert diary.heard == [*WHOLE[:4], "end run RuntimeError"]


def test_a_stream_that_is_left_ends_a_run(pipe: Any) -> None:
    diary = Diary()
    unwatch = pipe.watch(diary)
    steps = pipe.stream("a cat", **STEPS)
    next(steps)
    next(steps)
    steps.close()
    unwatch()
    assert diary.heard == [*WHOLE[:5], "end run GeneratorExit"]
    assert not pipe.strategies._shared.is_running


def test_a_stream_that_was_never_begun_is_not_heard(pipe: Any) -> None:
    diary = Diary()
    unwatch = pipe.watch(diary)
    pipe.stream("a cat", **STEPS).close()
    with pytest.raises(ValueError, match="height"):
        pipe("a cat", height=7)
    unwatch()
    assert diary.heard == []


def test_an_interrupt_begins_decoding_at_once(pipe: Any) -> None:
    diary = Diary()
    unwatch = pipe.watch(diary)
    pipe("a cat", callback_on_step_end=stop, **STEPS)
    unwatch()
    assert diary.heard == [*WHOLE[:5], *WHOLE[7:]]


def test_listeners_are_nested(pipe: Any) -> None:
    heard: list[str] = []
    ends = [pipe.watch(Diary("A ", heard)), pipe.watch(Diary("B ", heard))]
    next(pipe.stream("a cat", **STEPS))
    for unwatch in ends:
        unwatch()
    assert heard[:4] == ["A begin run", "B begin run", "A begin text", "B begin text"]
    assert heard[4:6] == ["B end text 0", "A end text 0"]
    assert heard[6:] == ["B end run GeneratorExit", "A end run GeneratorExit"]


def test_whoever_stops_listening_in_the_middle_hears_the_end(pipe: Any) -> None:
    early, late = Diary(), Diary()
    unwatch = pipe.watch(early)
    steps = pipe.stream("a cat", **STEPS)
    next(steps)
    unwatch()
    unwatch_late = pipe.watch(late)
    list(steps)
    unwatch_late()
    assert early.heard == WHOLE
    assert late.heard == []


class Objector(Diary):
    """Refuses something."""

    def __init__(self, refused: str) -> None:
        super().__init__()
        self.refused = refused

    def begin_run(self, run: Run) -> None:
        super().begin_run(run)
        self._perhaps("begin run")

    def end_step(self, run: Run, step: Step) -> None:
        super().end_step(run, step)
        self._perhaps("end step")

    def end_run(self, run: Run, error: BaseException | None) -> None:
        super().end_run(run, error)
        self._perhaps("end run")

    def _perhaps(self, what: str) -> None:
        if what == self.refused:
            raise LookupError(what)


@pytest.mark.parametrize("refused", ["begin run", "end step", "end run"])
def test_an_error_of_one_listener_reaches_the_caller_and_the_others_hear_the_end(
    pipe: Any, refused: str
) -> None:
    first, last = Diary(), Diary()
    ends = [pipe.watch(one) for one in (first, Objector(refused), last)]
    with pytest.raises(LookupError, match=refused):
        pipe("a cat", **STEPS)
    for unwatch in ends:
        unwatch()
    assert first.heard[-1] == "end run LookupError"
    assert (
        last.heard[-1:]
        == {
            "begin run": [],
            "end step": ["end run LookupError"],
            "end run": ["end run None"],
        }[refused]
    )
    assert not pipe.strategies._shared.is_running


class Rest(RunListener[Run]):
    """Asks whether the pipeline is at rest when a run has ended."""

    def __init__(self) -> None:
        self.is_running: list[bool] = []

    def end_run(self, run: Run, error: BaseException | None) -> None:
        self.is_running.append(run.pipe.strategies._shared.is_running)


def test_a_run_is_over_when_the_pipeline_is_at_rest(pipe: Any) -> None:
    rest = Rest()
    unwatch = pipe.watch(rest)
    pipe("a cat", **STEPS)
    next(pipe.stream("a cat", **STEPS))
    with pytest.raises(RuntimeError, match="enough"):
        pipe("a cat", callback_on_step_end=fail, **STEPS)
    unwatch()
    assert rest.is_running == [False] * 3


def test_nobody_keeps_a_listener_that_has_stopped(pipe: Any) -> None:
    diary = Diary()
    pipe.watch(diary)()
    with_run = Diary()
    unwatch = pipe.watch(with_run)
    pipe("a cat", **STEPS)
    unwatch()
    gone = [weakref.ref(diary), weakref.ref(with_run)]
    del diary, with_run, unwatch
    gc.collect()
    assert [ref() for ref in gone] == [None, None]
