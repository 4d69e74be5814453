"""What strategies hear of runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from torch import Tensor

import dpnb
from dpnb.pipelines.listeners import Run
from dpnb.run_listener import RunKey, RunListener
from dpnb.strategies.networks import Networks
from dpnb.strategies.strategy import Slot, Strategy
from dpnb.strategies.undo import Undo


@dataclass
class Diary(RunListener[RunKey]):
    """Writes down what it hears, each with the run that it hears of."""

    heard: list[str] = field(default_factory=list)
    runs: list[RunKey] = field(default_factory=list)

    def _write(self, run: RunKey, text: str) -> None:
        self.heard.append(text)
        self.runs.append(run)

    def begin_run(self, run: RunKey) -> None:
        self._write(run, "begin run")

    def set_timesteps(self, run: RunKey, timesteps: Tensor) -> None:
        self._write(run, f"{len(timesteps)} steps")

    def before_step(self, run: RunKey, index: int, total: int) -> None:
        self._write(run, f"step {index} of {total}")

    def after_steps(self, run: RunKey) -> None:
        self._write(run, "after steps")

    def end_run(self, run: RunKey, error: BaseException | None) -> None:
        self._write(run, f"end run {type(error).__name__}")


@dataclass(frozen=True)
class Listening(Strategy):
    """Lets a diary hear of runs."""

    slot = Slot.CODER_WRAPPER
    diary: Diary = field(default_factory=Diary, compare=False)

    def apply(self, networks: Networks, undo: Undo) -> None:
        """Let it hear."""
        undo.watch(self.diary)


@pytest.fixture
def pipe() -> Any:
    pipe = dpnb.random_pipeline("tiny-sd")
    pipe.set_progress_bar_config(disable=True)
    return pipe


WHOLE = [
    "begin run",
    "2 steps",
    "step 0 of 2",
    "step 1 of 2",
    "after steps",
    "end run NoneType",
]


def test_a_strategy_hears_all_of_one_run(pipe: Any) -> None:
    listening = Listening()
    pipe.strategies.enable(listening)
    pipe("a red apple", num_inference_steps=2, output_type="latent")
    assert listening.diary.heard == WHOLE
    (run,) = set(listening.diary.runs)
    assert isinstance(run, Run)
    assert run.pipe is pipe


def test_every_run_is_another(pipe: Any) -> None:
    listening = Listening()
    pipe.strategies.enable(listening)
    for _ in range(2):
        pipe("a red apple", num_inference_steps=2, output_type="latent")
    assert listening.diary.heard == WHOLE * 2
    assert len(set(listening.diary.runs)) == 2


def test_a_strategy_hears_what_stops_a_run(pipe: Any) -> None:
    listening = Listening()
    pipe.strategies.enable(listening)

    def stop(*_: Any) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        pipe("a red apple", num_inference_steps=2, callback_on_step_end=stop)
    assert listening.diary.heard == [*WHOLE[:3], "end run ZeroDivisionError"]


def test_a_strategy_that_comes_in_mid_run_hears_of_that_run(pipe: Any) -> None:
    listening = Listening()
    steps = pipe.stream("a red apple", num_inference_steps=2, output_type="latent")
    for step in steps:
        if step.timestep is not None and step.index == 0:
            pipe.strategies.enable(listening)
    assert listening.diary.heard == [*WHOLE[:2], *WHOLE[3:]]
    assert len(set(listening.diary.runs)) == 1


def test_a_run_whose_memory_is_freed_begins_anew(pipe: Any) -> None:
    listening = Listening()
    pipe.strategies.enable(listening)
    for step in pipe.stream("a red apple", num_inference_steps=2, output_type="latent"):
        if step.timestep is not None and step.index == 0:
            pipe.maybe_free_model_hooks()
    anew = ["end run NoneType", "begin run", "2 steps"]
    assert listening.diary.heard == [*WHOLE[:3], *anew, *WHOLE[3:]]
    assert len(set(listening.diary.runs)) == 1


def test_loops_without_a_pipeline_are_runs(pipe: Any) -> None:
    listening = Listening()
    pipe.strategies.enable(listening)
    with pipe.strategies.begin_run():
        pipe.strategies.before_step(0, 1)
    assert listening.diary.heard == ["begin run", "step 0 of 1", "end run NoneType"]
    assert len(set(listening.diary.runs)) == 1
