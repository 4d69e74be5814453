"""Whatever line of a switch an interrupt hits, the former plan or the new one is on, whole."""

from __future__ import annotations

import copy
import os
import random
from collections.abc import Callable, Iterator
from itertools import chain, pairwise, repeat
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import torch
from torch import Tensor

import dpnb
from dpnb.strategies import projection, undo
from dpnb.strategies.attention import XFormers
from dpnb.strategies.device_map import DeviceMap
from dpnb.strategies.offload import dispatch
from dpnb.strategies.offload.packing import PackedWeights
from dpnb.strategies.placement import SequentialOffload
from dpnb.strategies.projection import QKVFusion
from dpnb.strategies.shared import BrokenPipelineError
from dpnb.strategies.storage import LayerwiseCasting
from dpnb.strategies.strategy import Plan, Strategy
from tests.strategies.interrupts import LOCKED, Injection, Line, lines_of
from tests.strategies.pipes import LINK, SAMPLES_OF, build, draw, traces, values

pytestmark = pytest.mark.exhaustive

PLACES = int(os.environ.get("INTERRUPTED_LINES", "5"))
"""So many lines of every switch are tried, others for each; a thousand are all of them."""

Switch: TypeAlias = tuple[str, tuple[Strategy, ...], tuple[Strategy, ...]]
"""A pipeline's name, what is on before, and what is to be on."""

# Weights on the disk are many files, which take long to write; one block of them is enough.
LEFT_OUT = (DeviceMap("disk"), XFormers())

SWITCHES: list[Switch] = [
    switch
    for name in ("tiny-sd", "tiny-flux")
    for strategy in SAMPLES_OF[name]
    if strategy not in LEFT_OUT
    for switch in ((name, (), (strategy,)), (name, (strategy,), ()))
]

PAIRS: list[Switch] = [
    ("tiny-sd", (one,), (other,))
    for one, other in pairwise(s for s in SAMPLES_OF["tiny-sd"] if s not in LEFT_OUT)
]

RUNS = [("tiny-sd", s) for s in SAMPLES_OF["tiny-sd"] if s not in LEFT_OUT]


class Ground:
    """A pipeline, and everything that it is without any strategy."""

    def __init__(self, name: str) -> None:
        self.pipe = build(name)
        self.traces, self.values = traces(self.pipe), values(self.pipe)
        self.picture = draw(self.pipe)

    def check(self) -> None:
        """All off is bit for bit what it was at first."""
        self.pipe.strategies.use([])
        assert traces(self.pipe) == self.traces
        assert same(values(self.pipe), self.values)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return list(one) == list(other) and all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture(scope="module")
def grounds() -> dict[str, Ground]:
    return {name: Ground(name) for name in ("tiny-sd", "tiny-flux")}


@pytest.fixture
def ground(grounds: dict[str, Ground], name: str) -> Iterator[Ground]:
    yield grounds[name]
    grounds[name].pipe.strategies.use([])


def places(lines: dict[Line, int], seed: str, count: int) -> list[tuple[Line, int]]:
    """Some of the lines, each at one of its executions."""
    chance = random.Random(seed)
    chosen = chance.sample(sorted(lines), min(count, len(lines)))
    return [(line, chance.randint(1, lines[line])) for line in chosen]


def interrupt(ground: Ground, before: Plan, after: Plan, place: tuple[Line, int]) -> None:
    stack = ground.pipe.strategies
    stack.use(before)
    shape = [list(vars(m)) for m in modules(ground.pipe)]
    with pytest.raises(KeyboardInterrupt), Injection(place):
        stack.use(after)
    assert stack.active in (before, after), place
    if stack.active == before:
        assert [list(vars(m)) for m in modules(ground.pipe)] == shape
    ground.check()


def modules(pipe: Any) -> list[torch.nn.Module]:
    parts = [part for part in pipe.parts().values() if isinstance(part, torch.nn.Module)]
    return [module for part in parts for module in part.modules()]


@pytest.mark.parametrize(("name", "before", "after"), SWITCHES + PAIRS, ids=repr)
def test_a_switch_may_be_interrupted_at_any_line(
    ground: Ground, before: tuple[Strategy, ...], after: tuple[Strategy, ...]
) -> None:
    stack = ground.pipe.strategies
    stack.use(before)
    stack.use(after)  # what is imported or learnt once is not a line of a switch
    stack.use(before)
    lines = lines_of(lambda: stack.use(after))
    assert len(lines) > 10
    for place in places(lines, f"{before}{after}", PLACES):
        interrupt(ground, frozenset(before), frozenset(after), place)


@pytest.mark.parametrize("name", ["tiny-sd"])
def test_a_switch_within_a_run_may_be_interrupted(ground: Ground) -> None:
    """The run ends by it, and everything is as before or after the switch."""
    pipe, plan = ground.pipe, [SequentialOffload(device=LINK), QKVFusion()]
    lines = lines_of(lambda: pipe.strategies.use(plan))

    for place in places(lines, "run", 3):
        pipe.strategies.use([])

        def switch(
            pipe: Any, index: int, t: Tensor, tensors: dict[str, Tensor], place: Any = place
        ) -> dict[str, Tensor]:
            with Injection(place):
                pipe.strategies.use(plan)
            return tensors

        with pytest.raises(KeyboardInterrupt):
            draw(pipe, callback_on_step_end=switch)
        assert pipe.strategies.active in (frozenset(), frozenset(plan))
        assert not pipe.strategies.is_running
        ground.check()
        assert torch.equal(draw(pipe), ground.picture)


@pytest.mark.parametrize("name", ["tiny-sd"])
def test_saving_may_be_interrupted(ground: Ground, tmp_path: Path) -> None:
    """What is on is on afterwards, and the next save holds plain weights."""
    pipe, plan = ground.pipe, frozenset([QKVFusion(), LayerwiseCasting()])
    pipe.strategies.use(plan)

    def save() -> None:
        pipe.save_pretrained(tmp_path / "saved")

    lines = {line: n for line, n in lines_of(save).items() if "/strategies/" in line[0]}
    for place in places(lines, "saving", 6):
        with pytest.raises(KeyboardInterrupt), Injection(place):
            save()
        pipe.strategies.use(plan)
    save()
    loaded = dpnb.DiffusionPipeline.from_pretrained(tmp_path / "saved")
    assert all(torch.equal(v, ground.values[k]) for k, v in values(loaded).items())
    ground.check()


# --- inverses that fail ---

INVERSES = [
    (projection, "unfuse_linears", QKVFusion()),
    (undo, "_give_data", LayerwiseCasting()),
    (dispatch, "_restore_layer", DeviceMap((("unet.mid_block", "disk"),))),
    (PackedWeights, "unpack", SequentialOffload(device=LINK)),
]


class Failing:
    """A function that fails from one of its calls on, once that is asked for.

    Args:
        function: what it does otherwise.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._calls: Iterator[BaseException | None] = repeat(None)

    def fail(self, *results: BaseException | None, for_good: bool = False) -> None:
        """Raise these in the calls that follow, one after the other; `None` lets one pass."""
        self._calls = chain(results, repeat(results[-1] if for_good else None))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Fail, or do the work."""
        if (error := next(self._calls)) is not None:
            raise error
        return self._function(*args, **kwargs)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, owner: Any, inverse: str) -> Failing:
    wrapped = Failing(vars(owner)[inverse])
    monkeypatch.setattr(owner, inverse, lambda *args, **kwargs: wrapped(*args, **kwargs))
    return wrapped


@pytest.mark.parametrize("name", ["tiny-sd"])
@pytest.mark.parametrize("before", [0, 2])
@pytest.mark.parametrize(("owner", "inverse", "strategy"), INVERSES)
def test_an_inverse_that_is_interrupted_is_done_all_the_same(
    ground: Ground, failing: Failing, owner: Any, inverse: str, strategy: Strategy, before: int
) -> None:
    ground.pipe.strategies.use([strategy])
    failing.fail(*[None] * before, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        ground.pipe.strategies.use([])
    ground.check()
    assert torch.equal(draw(ground.pipe), ground.picture)


@pytest.mark.parametrize("name", ["tiny-sd"])
@pytest.mark.parametrize(("owner", "inverse", "strategy"), INVERSES)
def test_what_cannot_be_taken_back_is_said_and_never_drawn_or_saved(
    ground: Ground,
    failing: Failing,
    owner: Any,
    inverse: str,
    strategy: Strategy,
    tmp_path: Path,
) -> None:
    """Until the cause is gone: then it is taken back."""
    pipe = ground.pipe
    pipe.strategies.use([strategy])
    failing.fail(None, OSError("the disk is gone"), for_good=True)
    for ask in (
        lambda: pipe.strategies.use([]),
        lambda: draw(pipe),
        lambda: pipe.save_pretrained(tmp_path / "saved"),
        lambda: pipe.to("cpu"),
        lambda: pipe.unet.save_pretrained(tmp_path / "unet"),
        lambda: copy.deepcopy(pipe),
    ):
        with pytest.raises(BrokenPipelineError, match="the disk is gone") as caught:
            ask()
        assert "load the pipeline anew" in str(caught.value)
    assert not list(tmp_path.iterdir())
    failing.fail(None)
    ground.check()
    assert torch.equal(draw(pipe), ground.picture)


# --- runs ---


@pytest.mark.parametrize(("name", "strategy"), RUNS, ids=repr)
def test_a_run_may_be_interrupted_at_any_line(ground: Ground, strategy: Strategy) -> None:
    """What is on stays on, the next picture is right, and all off is what it was."""
    pipe, generator = ground.pipe, random.Random(repr(strategy))
    pipe.strategies.use([strategy])
    picture = draw(pipe)
    ground.check()
    pipe.strategies.use([strategy])  # a first run may have more lines than those that follow
    lines = lines_of(lambda: draw(pipe))
    ground.check()
    pipe.strategies.use([strategy])
    for line in generator.sample(sorted(lines), min(PLACES, len(lines))):
        with pytest.raises(KeyboardInterrupt), Injection((line, generator.randint(1, lines[line]))):
            draw(pipe)
        assert pipe.strategies.active == {strategy}
        assert torch.equal(draw(pipe), picture)
        assert not pipe.strategies.is_running
        ground.check()
        pipe.strategies.use([strategy])


def test_a_lock_alone_is_left_alone() -> None:
    for line in ("with self._lock:", "    with self._session.lock, state.hold():", "with _lock:\n"):
        assert LOCKED.match(line)
    for line in ("with self.lock.hold():", "with self._blocks:", "with lock_of(self):", "lock:"):
        assert not LOCKED.match(line)
