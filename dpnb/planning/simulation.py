"""A pipeline's run without weights: what it holds, computes and needs, by stage and step.

The pipeline's own code runs, with whatever is switched on. Its networks are valueless: their
tensors have shapes, dtypes and lifetimes, and neither values nor memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from typing_extensions import override

from dpnb.errors import DpnbError, StrategyError
from dpnb.nn.compiled import compute_uncompiled
from dpnb.pipelines.explorable import ExplorablePipeline
from dpnb.pipelines.listeners import Run
from dpnb.planning.device_profile import DeviceProfile
from dpnb.planning.needed_pictures import make_needed_pictures
from dpnb.planning.run_failures import SimulatedRunError, describe_failure, explain_failure
from dpnb.planning.timeline import StepTimeline, TimelineRecorder
from dpnb.planning.valueless import ValuelessTensors
from dpnb.planning.workload import Workload
from dpnb.planning.workload_arguments import arguments_for, limit_steps, with_defaults_of
from dpnb.run_listener import RunListener
from dpnb.stages import Stage, Step
from dpnb.strategies.out_of_memory import ALLOCATION_ERRORS, OutOfMemoryError, is_out_of_memory
from dpnb.strategies.strategy import Strategy

SIMULATED_STEPS = 4
"""So many denoising steps are simulated; those that follow are like the last of them."""


class Simulation:
    """Runs one valueless pipeline.

    A pipeline that decodes at once is told to end after some steps. Another is asked for few steps
    in the first place, so that all that it does in a run is done; where it refuses so few, it makes
    all of them.

    Args:
        pipe: its networks are valueless.
        valueless_mode: the mode in which they run.
        workload: what is drawn.
        profile: of the device that would compute.
        arguments: further ones of the pipeline's call, which go before those of the workload.

    Attributes:
        steps: of denoising in a whole run, as the longest simulation has told.
    """

    def __init__(
        self,
        pipe: ExplorablePipeline,
        valueless_mode: ValuelessTensors,
        workload: Workload,
        profile: DeviceProfile,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        self.pipe, self.valueless_mode = pipe, valueless_mode
        self.workload = with_defaults_of(pipe, workload)
        self.profile = profile
        valueless_mode.card = profile.libraries
        self.steps = self.workload.steps or 0
        self._given = dict(arguments or {})
        self._longest = 0
        self._takes_few = True
        self._taken: set[int] = set()
        self._shows_pictures: bool | None = None
        networks: Any = pipe.strategies.networks
        networks.set_aside = lambda values: values.clone

    def use(self, plan: Iterable[Strategy]) -> None:
        """Switch exactly these strategies on.

        Raises:
            StrategyError: one cannot be switched on here.
        """
        try:
            with self.valueless_mode:
                self.pipe.strategies.use(plan)
        except DpnbError:
            raise
        except Exception as error:  # what a network does by itself may fail in whatever way
            what = describe_failure(error)
            raise StrategyError(f"It cannot be switched on here: {what}.") from error

    def obstacle(self, strategy: Strategy) -> str | None:
        """Why a strategy cannot be switched on, as a sentence; `None` where it can."""
        with self.valueless_mode:
            return self.pipe.strategies.obstacle(strategy)

    def run(self, denoising: int = SIMULATED_STEPS) -> list[StepTimeline]:
        """Run with what is switched on.

        Args:
            denoising: at the most so many steps; without any, noise is decoded as it is, and of a
                pipeline that does not decode at once one step is made.

        Returns:
            The text stage, the denoising steps, and decoding; of pipelines that are not dpnb's,
            whatever they do, in its order.

        Raises:
            SimulatedRunError: the code of a pipeline that is not dpnb's fails with what is drawn.
            ValuelessTensorError: it decides by what its networks compute.
        """
        try:
            return self._try(denoising)
        except ALLOCATION_ERRORS as error:
            if not (isinstance(error, OutOfMemoryError) or is_out_of_memory(error)):
                raise
            raise SimulatedRunError(
                f"{self.workload.describe()} cannot be simulated: one of its tensors is larger "
                "than what this machine can give addresses to; plan something smaller."
            ) from error

    def _try(self, denoising: int) -> list[StepTimeline]:
        if self.pipe.decodes_at_once:
            return self._run(self._arguments(), denoising)
        try:
            return self._show_pictures_if_needed(denoising)
        except DpnbError:
            raise
        except Exception as error:  # somebody else's code fails in whatever way
            raise explain_failure(self.pipe, self._arguments(), error) from error

    def _show_pictures_if_needed(self, denoising: int) -> list[StepTimeline]:
        if self._shows_pictures is not None:
            return self._run_few(denoising)
        self._shows_pictures = False
        try:
            return self._run_few(denoising)
        except (DpnbError, NotImplementedError):
            raise
        except Exception:  # its own code says in whatever way that it begins with a picture
            self._shows_pictures = True
            return self._run_few(denoising)

    def _run_few(self, denoising: int) -> list[StepTimeline]:
        """A run of so few steps; once that has been refused, and all have been made, of all."""
        if not self._takes_few:
            return self._run(self._arguments(), None)
        count = max(denoising, 1)
        few = limit_steps(self.pipe.call_signature, self._arguments(), count)
        try:
            steps = self._run(few, None)
        except ValueError:
            if count in self._taken:
                raise
            steps = self._run(self._arguments(), None)
            self._takes_few = False
        self._taken.add(count)
        return steps

    def _arguments(self) -> dict[str, Any]:
        shows = bool(self._shows_pictures)
        arguments = arguments_for(self.pipe, self.workload, optional_pictures=shows)
        if any(name.endswith("prompt_embeds") for name in self._given):
            arguments.pop("prompt", None)  # it comes encoded already
        return {**make_needed_pictures(self.pipe, self.workload), **arguments, **self._given}

    def _run(self, arguments: dict[str, Any], most: int | None) -> list[StepTimeline]:
        recorder = TimelineRecorder(self.valueless_mode, self.profile)
        timelines = _Timelines(recorder, most)
        unsubscribe = self.pipe.watch(timelines)
        try:
            draw = self.pipe.make_run(**arguments)
            # numpy may be given memory that holds no values, and has nothing to warn of there.
            quiet = np.errstate(all="ignore")
            with recorder.watch(self.pipe.strategies.networks), compute_uncompiled(), quiet:
                draw()
        finally:
            unsubscribe()
        self._count_steps(arguments, timelines)
        return timelines.steps

    def _count_steps(self, arguments: Mapping[str, Any], timelines: _Timelines) -> None:
        """Note how many steps a whole run has, from one that had all or some of them."""
        if timelines.denoising < self._longest:
            return
        self._longest = timelines.denoising
        if self.pipe.decodes_at_once:
            self.steps = timelines.total or self.steps
            return
        steps = self.pipe.call_signature.steps
        asked = None if steps is None else arguments.get(steps.name)
        whole = None if steps is None else self._arguments().get(steps.name)
        share = whole / asked if asked and whole else 1
        self.steps = round(timelines.denoising * share)


class _Timelines(RunListener[Run]):
    """Hears one run, and notes the timeline of every step.

    Args:
        recorder: watches the run.
        most: after so many denoising steps it is told to end; `None` for never.

    Attributes:
        steps: that are over.
        denoising: how many of these denoise.
        total: denoising steps that the run has, as it says.
    """

    def __init__(self, recorder: TimelineRecorder, most: int | None) -> None:
        self._recorder, self._most = recorder, most
        self.steps: list[StepTimeline] = []
        self.denoising = self.total = 0

    @override
    def end_step(self, run: Run, step: Step) -> None:
        self.steps.append(self._recorder.end_step(step.stage))
        if step.stage is Stage.DENOISING:
            self.denoising += 1
            self.total = step.total
        is_enough = self._most is not None and self.denoising >= self._most
        if is_enough and step.stage is not Stage.DECODING:
            run.pipe.interrupt_run()
