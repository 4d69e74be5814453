"""Where a run is: its step, and the call of a network that goes on.

This knows nothing of weights. Runs, steps and calls are reported to it; it says whether a run or a
call goes on, and whether a call of the network that denoises is the last one in its run.
"""

from __future__ import annotations

from dataclasses import dataclass

from dpnb.strategies.offload.streamed_network import StreamedNetwork


@dataclass
class DenoisingStep:
    """A step of the denoising loop.

    Attributes:
        steps_left: after this one.
        calls_before: calls of the network in the step before; 1 in the first.
        network: the one that denoises, which is the first that is called in a step.
        calls: its calls in this step so far.
    """

    steps_left: int
    calls_before: int = 1
    network: StreamedNetwork | None = None
    calls: int = 0

    def next(self, steps_left: int) -> DenoisingStep:
        """The step that follows."""
        return DenoisingStep(steps_left, max(self.calls, 1), self.network)

    def count_call(self, network: StreamedNetwork) -> None:
        """A network is called."""
        self.network = self.network or network
        self.calls += network is self.network

    @property
    def is_last_call(self) -> bool:
        """Whether the present call is the last one that is expected in the run."""
        return self.steps_left == 0 and self.calls >= self.calls_before


class RunProgress:
    """The run, its step, and the calls that go on.

    A call within a call, as of an adapter within a UNet, belongs to the outermost one.

    Attributes:
        is_running: whether a run goes on.
        caller: the network and the method of the outermost call; that of the last one between two
            calls of a run.
        call_depth: how many calls go on, one within the other.
        lone_blocks: how many blocks compute that were called by themselves, outside of any call.
    """

    def __init__(self) -> None:
        self.is_running = False
        self.caller: tuple[StreamedNetwork, str] | None = None
        self.call_depth = 0
        self.lone_blocks = 0
        self._step: DenoisingStep | None = None

    @property
    def is_idle(self) -> bool:
        """Whether neither a run nor a call goes on."""
        return not self.is_running and not self.call_depth

    def begin_step(self, index: int, total: int) -> None:
        """Denoising step `index` of `total` begins."""
        left = total - index - 1
        self._step = DenoisingStep(left) if self._step is None else self._step.next(left)

    def begin_call(self, network: StreamedNetwork, method: str) -> None:
        """An outermost call begins."""
        if self._step is not None:
            self._step.count_call(network)
        self.caller = (network, method)

    def is_called_again(self, network: StreamedNetwork) -> bool:
        """Whether `network` denoises, and will be called again in this run."""
        step = self._step
        return step is not None and step.network is network and not step.is_last_call

    def is_last_call(self, network: StreamedNetwork) -> bool:
        """Whether `network` denoises, and is called for the last time in this run."""
        step = self._step
        return step is not None and step.network is network and step.is_last_call

    def reset(self) -> None:
        """Forget the steps and the last call, as before a run."""
        self._step = self.caller = None
        self.lone_blocks = 0
