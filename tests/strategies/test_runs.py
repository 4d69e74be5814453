"""Threads that run, switch and save over the same networks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import dpnb
from dpnb.strategies import runs as runs_module
from dpnb.strategies.conditioning import ConditioningCache
from dpnb.strategies.device_map import DeviceMap
from dpnb.strategies.freeu import FreeU
from dpnb.strategies.placement import ModelOffload, SequentialOffload
from dpnb.strategies.projection import QKVFusion
from dpnb.strategies.runs import RunError
from dpnb.strategies.storage import ChannelsLast, LayerwiseCasting
from dpnb.strategies.strategy import Effect, Strategy
from dpnb.strategies.vae import VaeSlicing, VaeTiling
from tests.strategies.pipes import LINK, build, draw, traces, values

TIMEOUT = 120
"""Seconds against a test that hangs; nothing depends on how long anything takes."""

STATEFUL: list[Strategy] = [
    ConditioningCache(),
    DeviceMap((("unet.mid_block.resnets.0", "disk"),)),
    ModelOffload(LINK),
    SequentialOffload(device=LINK),
    LayerwiseCasting(),
    VaeTiling(1),
]


@pytest.fixture
def pipe() -> Any:
    return build("tiny-sd")


def sibling(pipe: Any) -> Any:
    """Another pipeline over the same networks, with a scheduler of its own."""
    scheduler = dpnb.EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    twin = type(pipe).from_pipe(pipe, scheduler=scheduler)
    twin.set_progress_bar_config(disable=True)
    return twin


def together(*works: Callable[[], Any]) -> list[Any]:
    """What each of `works` returns, begun at once on threads of their own."""
    barrier = threading.Barrier(len(works))

    def begin(work: Callable[[], Any]) -> Any:
        barrier.wait(TIMEOUT)
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result(TIMEOUT) for future in [pool.submit(begin, w) for w in works]]


class Paused:
    """A run that stands within its first step until it is told to go on."""

    def __init__(self, pipe: Any) -> None:
        self.is_inside, self.may_go_on = threading.Event(), threading.Event()
        handle = pipe.unet.register_forward_pre_hook(self._stand)
        self._thread = threading.Thread(target=self._draw, args=(pipe, handle))
        self._thread.start()
        assert self.is_inside.wait(TIMEOUT)

    def _stand(self, *_: object) -> None:
        self.is_inside.set()
        assert self.may_go_on.wait(TIMEOUT)

    def _draw(self, pipe: Any, handle: Any) -> None:
        self.picture = draw(pipe)
        handle.remove()

    def end(self) -> Tensor:
        """Go on, and return the picture."""
        self.may_go_on.set()
        self._thread.join(TIMEOUT)
        assert not self._thread.is_alive()
        return self.picture


# --- runs ---


@pytest.mark.exhaustive
@pytest.mark.parametrize("strategy", STATEFUL, ids=repr)
def test_runs_on_threads_draw_what_they_draw_alone(pipe: Any, strategy: Strategy) -> None:
    twin = sibling(pipe)
    pipe.strategies.use([strategy])
    alone = draw(pipe), draw(twin)
    drawn = together(*[lambda: draw(pipe), lambda: draw(twin)] * 2)
    assert all(torch.equal(drawn[place], alone[place % 2]) for place in range(4))


def test_runs_that_share_a_scheduler_alone_come_one_after_the_other(pipe: Any) -> None:
    other = build("tiny-sd")
    pipe.scheduler = other.scheduler = dpnb.DPMSolverMultistepScheduler.from_config(
        pipe.scheduler.config
    )
    alone = draw(pipe, steps=4)
    drawn = together(*[lambda: draw(pipe, steps=4), lambda: draw(other, steps=4)] * 2)
    assert all(torch.equal(picture, alone) for picture in drawn)


def test_a_run_that_begins_ends_one_of_its_thread_that_waits(pipe: Any) -> None:
    pipe.strategies.use([ConditioningCache()])
    alone = draw(pipe)
    stream = pipe.stream("a banana", num_inference_steps=3)
    next(stream)
    next(stream)
    assert torch.equal(draw(pipe), alone)
    with pytest.raises(RunError, match="was given up when another one began"):
        next(stream)
    assert not pipe.strategies.is_running


def test_two_streams_in_turn_are_refused_in_a_sentence(pipe: Any) -> None:
    one, other = (pipe.stream(word, num_inference_steps=3) for word in ("apple", "pear"))
    next(one)
    next(other)
    with pytest.raises(RunError, match="take a stream to its end, or close it"):
        next(one)
    *_, last = other
    assert last.output is not None


def test_a_run_that_nobody_goes_on_with_makes_way(
    pipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread has left it between two steps, as an error in a cell does."""
    alone = draw(pipe)
    stream = pipe.stream("a banana", num_inference_steps=3)
    together(lambda: next(stream))
    monkeypatch.setattr(runs_module, "PATIENCE", 0.0)
    assert torch.equal(draw(pipe), alone)
    with pytest.raises(RunError, match="given up"):
        next(stream)


def test_a_run_that_waits_for_this_thread_is_not_waited_for(pipe: Any) -> None:
    stream = pipe.stream("a banana", num_inference_steps=3)
    together(lambda: next(stream))
    with (
        pipe.strategies.suspended(),
        pytest.raises(RunError, match="waits between two steps for what this thread does"),
    ):
        draw(pipe)
    assert next(stream).index == 0


def test_a_run_within_a_step_of_another_is_refused_or_right(pipe: Any) -> None:
    twin = sibling(pipe)
    alone = draw(pipe), draw(twin)
    within: list[Tensor] = []

    def call_back(_: Any, index: int, t: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        within.append(draw(twin))
        return tensors

    assert torch.equal(draw(pipe, callback_on_step_end=call_back), alone[0])
    assert all(torch.equal(picture, alone[1]) for picture in within)
    pipe.strategies.use([ConditioningCache()])
    with pytest.raises(RunError, match="cannot begin within a step of another one"):
        draw(pipe, callback_on_step_end=call_back)
    assert not pipe.strategies.is_running
    pipe.strategies.use([])
    assert torch.equal(draw(pipe), alone[0])


# --- switches ---


def test_a_switch_from_another_thread_waits_for_the_step(pipe: Any) -> None:
    plain = draw(pipe)
    run = Paused(pipe)
    switching = threading.Thread(target=pipe.strategies.enable, args=(ChannelsLast(),))
    switching.start()
    switching.join(0.05)
    assert switching.is_alive()
    assert pipe.strategies.active == frozenset()
    picture = run.end()
    switching.join(TIMEOUT)
    assert pipe.strategies.active == {ChannelsLast()}
    torch.testing.assert_close(picture, plain, rtol=0, atol=1e-5)


EXACT: list[Strategy] = [
    ChannelsLast(),
    ConditioningCache(),
    ModelOffload(LINK),
    QKVFusion(),
    SequentialOffload(device=LINK),
    VaeSlicing(),
    VaeTiling(1),
]


@pytest.mark.slow
def test_random_switches_on_threads_keep_every_picture(pipe: Any, tmp_path: Path) -> None:
    """Runs of two pipelines with the same networks, switches, saves and copies, all at once."""
    assert all(strategy.effect is Effect.EXACT for strategy in EXACT)
    twin = sibling(pipe)
    first, weights = traces(pipe), values(pipe)
    alone = draw(pipe), draw(twin)
    over = threading.Event()

    def switch(seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        while not over.is_set():
            place = int(torch.randint(len(EXACT), (), generator=generator))
            stack = (pipe, twin)[seed % 2].strategies
            stack.enable(EXACT[place])
            stack.disable(type(EXACT[(place + seed) % len(EXACT)]))

    def save() -> None:
        while not over.is_set():
            pipe.save_pretrained(tmp_path / "saved")

    def run() -> list[tuple[int, Tensor]]:
        try:
            return [(n % 2, draw((pipe, twin)[n % 2])) for n in range(6)]
        finally:
            over.set()

    drawn, *_ = together(run, lambda: switch(1), lambda: switch(2), save)
    for which, picture in drawn:
        torch.testing.assert_close(picture, alone[which], rtol=0, atol=1e-5)
    pipe.strategies.use([])
    assert traces(pipe) == first
    now = values(pipe)
    assert all(torch.equal(now[key], weights[key]) for key in weights)
    loaded = dpnb.DiffusionPipeline.from_pretrained(tmp_path / "saved")
    loaded.set_progress_bar_config(disable=True)
    assert torch.equal(draw(loaded), alone[0])


def test_a_listener_may_ask_and_switch_from_any_thread(pipe: Any) -> None:
    """Nobody who is told of a switch holds up the thread that has made it."""
    seen: list[Any] = []

    def listen(plan: Any) -> None:
        thread = threading.Thread(target=lambda: seen.append(pipe.strategies.active))
        thread.start()
        thread.join(TIMEOUT)

    stop = pipe.strategies.subscribe(listen)
    pipe.strategies.use([FreeU()])
    stop()
    assert seen == [{FreeU()}]


def test_a_network_that_is_called_while_another_thread_draws_waits(pipe: Any) -> None:
    pipe.strategies.use([SequentialOffload(device=LINK), VaeTiling(1)])
    latents = torch.zeros(1, 4, 8, 8)
    with torch.no_grad():
        alone, decoded = draw(pipe), pipe.vae.decode(latents).sample

        def decode() -> Tensor:
            with torch.no_grad():
                return torch.as_tensor(pipe.vae.decode(latents).sample)

        pictures = together(lambda: draw(pipe), decode, decode, lambda: draw(pipe))
    assert torch.equal(pictures[0], alone)
    assert torch.equal(pictures[3], alone)
    assert all(torch.equal(picture, decoded) for picture in pictures[1:3])
