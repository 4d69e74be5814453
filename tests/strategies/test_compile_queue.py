"""The process that compiles, and what waits for it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from typing_extensions import override

from dpnb.strategies import compile_queue
from dpnb.strategies.compile_order import Order
from dpnb.strategies.compile_process import CompileProcess, ProcessFailed
from dpnb.strategies.compile_queue import TRIES, CompiledCode, CompileQueue, shared_queue
from dpnb.strategies.compile_worker import Answer, Job, _is_passing
from dpnb.strategies.torch_settings import TorchSettings

ANSWER_BY_GROUP = """
import os, pickle, sys
sys.stdin.buffer.read(1)
pickle.dump(os.getpgid(0), sys.stdout.buffer)
sys.stdout.flush()
"""

pytestmark = pytest.mark.compiles


def order(name: str = "a") -> Order:
    """Of nothing that can be compiled."""
    return Order(name.encode(), (), (), (), ("value", int, 1), TorchSettings.now(), ())


class Asker:
    """Wants code."""


class Scripted(CompileProcess):
    """Answers what it is told to; an exception is raised."""

    def __init__(self, answers: list[Answer | Exception]) -> None:
        super().__init__()
        self.answers, self.jobs = answers, 0

    @override
    def ask(self, job: Job) -> Answer:
        self.jobs += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def wait_for(is_done: Callable[[], bool]) -> None:
    """Until it is so; some seconds at most."""
    for _ in range(500):
        if is_done():
            return
        time.sleep(0.01)
    raise AssertionError("it is not done")


@pytest.fixture(autouse=True)
def ends_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread waits for long."""
    monkeypatch.setattr(compile_queue, "IDLE", 0.05)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no groups of processes")
def test_nobody_interrupts_it_with_this_process() -> None:
    with CompileProcess(ANSWER_BY_GROUP) as process:
        group: Any = process.ask(Job(order(), "nowhere"))
        assert group != os.getpgid(0)
        with pytest.raises(ProcessFailed):
            process.ask(Job(order(), "nowhere"))
        assert process.ask(Job(order(), "nowhere")) != group, "it is started anew"


def test_a_process_that_ends_says_why() -> None:
    with (
        CompileProcess("raise SystemExit('there is no room')") as process,
        pytest.raises(ProcessFailed, match="there is no room"),
    ):
        process.ask(Job(order(), "nowhere"))


def test_what_a_process_has_ended_over_is_asked_again() -> None:
    ended = [ProcessFailed("killed") for _ in range(TRIES)]
    process = Scripted([*ended, Answer(failure="it cannot be compiled")])
    queue = CompileQueue(lambda: process)
    asker, other = Asker(), Asker()
    code = queue.ask(order(), asker)
    wait_for(lambda: not code.is_waiting)
    assert code.failure == "the process that compiles has ended (killed)"
    assert process.jobs == TRIES
    assert queue.ask(order(), other) is code
    wait_for(lambda: not code.is_waiting)
    assert code.failure == "it cannot be compiled"
    queue.ask(order(), Asker())
    time.sleep(0.02)
    assert process.jobs == TRIES + 1, "that is known now"


def test_a_lack_of_room_passes() -> None:
    assert _is_passing(MemoryError())
    assert _is_passing(OSError(28, "No space left on device"))
    assert not _is_passing(RuntimeError("no such operation"))
    with pytest.raises(RuntimeError) as caught:
        raise RuntimeError("it was not compiled") from MemoryError()
    assert _is_passing(caught.value)


def test_what_nobody_wants_is_forgotten() -> None:
    queue = CompileQueue(lambda: Scripted([Answer(failure="no"), Answer(failure="no")]))
    asker: Any = Asker()
    kept, code = queue.ask(order("kept"), asker), queue.ask(order(), Asker())
    time.sleep(0.2)
    assert queue.ask(order(), Asker()) is not code
    assert queue.ask(order("kept"), asker) is kept


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked")
def test_a_fork_waits_for_nobody() -> None:
    queue = shared_queue()
    code = CompiledCode(order("fork"))
    queue._codes[code.order] = code
    lock = queue._lock
    try:
        with lock:
            child = os.fork()
            if child == 0:
                is_said = code.may_try_again and "forked" in (code.failure or "")
                os._exit(0 if is_said and queue._lock.acquire(timeout=1) else 1)
        assert os.waitpid(child, 0)[1] == 0
    finally:
        del queue._codes[code.order]
    assert code.is_waiting
