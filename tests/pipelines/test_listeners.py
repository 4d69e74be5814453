from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import dpnb
from dpnb.pipelines.listeners import Run
from dpnb.run_listener import Foresee, RunListener
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


class Seer(RunListener[Run]):
    """Asks for what latents are going to be, at some of the steps.

    Attributes:
        seen: the index of each step → that.
        told: the indices that it heard of.
    """

    def __init__(self, asks: Callable[[int], bool] = lambda _: True) -> None:
        self.seen: dict[int, Tensor | None] = {}
        self.told: list[int] = []
        self._asks = asks

    def after_prediction(self, run: Run, index: int, foresee: Foresee) -> None:
        self.told.append(index)
        if self._asks(index):
            self.seen[index] = foresee()


class Operations(TorchDispatchMode):
    """Writes down every operation, and the bytes that its result takes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.done: list[tuple[str, int]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self.done.append((str(func), result.nbytes if isinstance(result, Tensor) else 0))
        return result


def operations_of(pipe: Any, *listeners: RunListener[Run]) -> list[tuple[str, int]]:
    operations = Operations()
    with ExitStack() as watching, operations:
        for listener in listeners:
            watching.callback(pipe.watch(listener))
        pipe("a cat", generator=torch.Generator().manual_seed(0), **STEPS)
    return operations.done


def test_who_does_not_ask_what_a_picture_is_going_to_be_costs_nothing(pipe: Any) -> None:
    plain = operations_of(pipe)
    assert len(plain) > 100
    assert operations_of(pipe, RunListener(), Seer(lambda _: False)) == plain
    assert len(operations_of(pipe, Seer())) > len(plain)


def test_what_nobody_keeps_is_free_before_the_scheduler_has_stepped(pipe: Any) -> None:
    """Bytes of all tensors, at the beginning and the end of each step."""

    def measure(*listeners: RunListener[Run]) -> list[tuple[int, int]]:
        with ExitStack() as watching, dpnb.record(pipe, "tensors") as trace:
            for listener in listeners:
                watching.callback(pipe.watch(listener))
            pipe("a cat", generator=torch.Generator().manual_seed(0), **STEPS)
        return [(step.peak, step.current) for step in trace.trace.steps]

    class Looking(RunListener[Run]):
        def after_prediction(self, run: Run, index: int, foresee: Foresee) -> None:
            foresee()

    plain = measure()
    assert measure(RunListener()) == plain
    assert measure(Looking()) == plain
    assert measure(Seer()) != plain


def test_the_last_step_foresees_the_latents_that_it_ends_with(pipe: Any) -> None:
    """Of the guided prediction, since the scheduler goes all the way with that."""
    seer, diary = Seer(), Diary()
    with ExitStack() as watching:
        watching.callback(pipe.watch(seer))
        watching.callback(pipe.watch(diary))
        steps = list(pipe.stream("a cat", guidance_scale=7.0, num_inference_steps=4))
    assert seer.told == [0, 1, 2, 3]
    assert diary.heard[-1] == "end run None"
    final = steps[-1].latents
    assert final is not None
    assert all(seen is not None and seen.shape == final.shape for seen in seer.seen.values())
    torch.testing.assert_close(seer.seen[3], final, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(steps[1].latents, final, atol=0.1)


def test_a_run_is_the_same_whether_somebody_asks_or_not(pipe: Any) -> None:
    def draw() -> Tensor:
        output = pipe("a cat", generator=torch.Generator().manual_seed(0), **STEPS)
        return torch.as_tensor(output.images)

    plain = draw()
    unwatch = pipe.watch(Seer())
    drawn = draw()
    unwatch()
    assert torch.equal(drawn, plain)
