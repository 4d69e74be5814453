"""Several processes that share a piece of work, as `accelerate launch` starts them."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

T = TypeVar("T")

PATIENCE = timedelta(days=7)
"""How long a process that is done waits for the others."""


@dataclass(frozen=True)
class Processes:
    """One process among those that work together; by itself unless several were launched.

    Args:
        index: of this process, from 0.
        count: of all.
        device: that accelerate has given it; `None` for a process by itself.
    """

    index: int = 0
    count: int = 1
    device: str | None = None

    @property
    def is_main(self) -> bool:
        """Whether this one gathers results and speaks for all."""
        return self.index == 0

    def share(self, work: Sequence[T]) -> list[T]:
        """What of `work` is this one's: every so many-th, so that all shares are alike."""
        return list(work[self.index :: self.count])

    def gather(self, found: list[T]) -> list[T]:
        """What all of them have found, on each; all of them call this."""
        if self.count == 1:
            return found
        from accelerate.utils import gather_object

        gathered: list[T] = gather_object(found)
        return gathered

    def agree(self, decide: Callable[[], T]) -> T:
        """What the main process decides, on each; all of them call this."""
        if self.count == 1:
            return decide()
        from accelerate.utils import broadcast_object_list

        decided = [decide() if self.is_main else None]
        value: T = broadcast_object_list(decided)[0]
        return value


ALONE = Processes()


def init_processes(device: str | None = None) -> Processes:
    """Connect to the processes that were launched with this one; `ALONE` where none were.

    Args:
        device: where it is to compute; `"cpu"` leaves accelerators alone.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ALONE
    from accelerate import PartialState

    from dpnb.devices import accelerator

    is_on_cpu = device == "cpu" or accelerator() is None
    state = PartialState(cpu=is_on_cpu, timeout=PATIENCE)
    atexit.register(state.destroy_process_group)
    return Processes(state.process_index, state.num_processes, str(state.device))
