"""The engine under offloading: weights stream to the device while it computes.

Weights live on the host, packed and pinned, and are copied in one direction only. While one block
computes, those that follow it come in on a copy stream. Their order is learnt from the first call
of a method, and learnt again when it changes.

The engine hears of runs, steps, calls and blocks, and decides which network has the device. Where a
run is, what is on the device, and what is loaded ahead are left to `RunProgress`, `DeviceMemory`,
`Prefetcher` and `Preloader`.

What is changed by hand between two runs counts in the next: every run brings its weights anew. A
call outside of a run is a run of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from typing_extensions import override

from dpnb.run_listener import RunKey, RunListener
from dpnb.strategies.fair_lock import FairLock
from dpnb.strategies.offload.budget import compute_block_memory
from dpnb.strategies.offload.device_memory import DeviceMemory
from dpnb.strategies.offload.link import Link
from dpnb.strategies.offload.prefetcher import Prefetcher
from dpnb.strategies.offload.preloader import Preloader
from dpnb.strategies.offload.run_progress import RunProgress
from dpnb.strategies.offload.streamed_network import StreamedNetwork


class OffloadEngine(RunListener[RunKey]):
    """Loads weights when they are needed, and those that follow them ahead of that.

    Args:
        link: to the device.
        networks: in the order of their use; the one that is called has the device.
        limit: bytes of weights on the device; where less is needed at the least, so much is taken.
        lock: held while a network is called.

    Attributes:
        memory: what is on the device.
    """

    def __init__(
        self, link: Link, networks: list[StreamedNetwork], limit: int, lock: FairLock
    ) -> None:
        self.memory = DeviceMemory(link)
        self._link, self._networks, self._limit, self._lock = link, networks, limit, lock
        self._progress = RunProgress()
        self._preloader = Preloader(networks, self.memory, limit)
        self._prefetcher: Prefetcher | None = None

    # --- runs and calls ---

    @override
    def begin_run(self, run: RunKey) -> None:
        self.unload()
        self._progress.is_running = True
        for network in self._networks:
            if network.is_read_in_runs:
                network.load_small_tensors(self._link, self)

    @override
    def before_step(self, run: RunKey, index: int, total: int) -> None:
        self._progress.begin_step(index, total)

    @override
    def end_run(self, run: RunKey, error: BaseException | None) -> None:
        self._progress.is_running = False
        self.unload()

    @contextmanager
    def call(self, network: StreamedNetwork, method: str) -> Iterator[None]:
        """A call of a network from outside takes place within; other threads wait."""
        with self._lock.hold(), self._within_call(network, method):
            yield

    @contextmanager
    def _within_call(self, network: StreamedNetwork, method: str) -> Iterator[None]:
        progress = self._progress
        progress.call_depth += 1
        try:
            if progress.call_depth > 1:
                yield
                return
            if not progress.is_running:
                self.unload()
            progress.begin_call(network, method)
            if network.is_read_in_calls:
                network.load_small_tensors(self._link, self)
            yield
            self._end_call(network, method)
        except BaseException:
            if progress.call_depth == 1:
                self._abandon_call()
            raise
        finally:
            progress.call_depth -= 1

    def _end_call(self, network: StreamedNetwork, method: str) -> None:
        prefetcher = self._prefetcher
        if prefetcher is not None and prefetcher.order is network.order_of(method):
            prefetcher.end_call()
        if not self._progress.is_running:
            self.unload()
        elif prefetcher is not None and self._progress.is_called_again(prefetcher.network):
            prefetcher.look_ahead()

    def _abandon_call(self) -> None:
        """The outermost call was broken off: no block computes any more."""
        self.memory.leave_all(keeps_residents=not self._is_last_call)
        if self._prefetcher is not None:
            self._prefetcher.abandon_call()
        if not self._progress.is_running:
            self.unload()

    def unload(self) -> None:
        """Nothing is on the device any more, and every parameter is on the host."""
        self.memory.clear()
        self._prefetcher = None
        self._progress.reset()
        for network in self._networks:
            network.unload_small_tensors()

    # --- blocks ---

    def enter_block(self, network: StreamedNetwork, module: nn.Module) -> None:
        """A block is about to compute: its weights are on the device when it does."""
        if self._progress.is_idle:
            if not self._progress.lone_blocks:
                self.unload()
            self._progress.lone_blocks += 1
        network.load_small_tensors(self._link, self)
        weights = network.packs.get(module)
        if weights is None:
            return
        prefetcher = self._give_device_to(network)
        if self._progress.call_depth and prefetcher is not None:
            prefetcher.enter(weights)
        self.memory.enter(weights)
        self._look_ahead()

    def leave_block(self, network: StreamedNetwork, module: nn.Module) -> None:
        """A block has computed, or failed to."""
        weights = network.packs.get(module)
        if weights is not None and self.memory.leave(
            weights, keeps_residents=not self._is_last_call
        ):
            self._look_ahead()
        if self._progress.is_idle:
            self._progress.lone_blocks -= 1
            if self._progress.lone_blocks <= 0:
                self.unload()

    def _give_device_to(self, network: StreamedNetwork) -> Prefetcher | None:
        """Give the device to the network that is called; `None` where another one keeps it."""
        caller, method = self._progress.caller or (network, None)
        if caller is not network:
            return None
        order = None if method is None else network.order_of(method)
        former = self._prefetcher
        is_its = former is not None and former.network is network
        is_same = former is not None and order in (None, former.order)
        if not (is_its and is_same) and not self.memory.is_in_use:
            self._prefetcher = None
            expected = order.weights if order is not None and order.is_known else network.weights
            room = compute_block_memory(self._networks, self._limit)
            self.memory.give_to(list(dict.fromkeys(expected)), room)
            self._prefetcher = Prefetcher(network, order, self.memory, self._progress)
            return self._prefetcher
        return former if is_its else None

    def _look_ahead(self) -> None:
        prefetcher = self._prefetcher
        if prefetcher is not None and prefetcher.look_ahead() and self._is_last_call:
            self._preloader.load_next(prefetcher.network)

    @property
    def _is_last_call(self) -> bool:
        """Whether the network that has the device denoises, for the last time in this run."""
        prefetcher = self._prefetcher
        return prefetcher is not None and self._progress.is_last_call(prefetcher.network)
