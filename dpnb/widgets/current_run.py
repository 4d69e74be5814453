"""What a monitor knows of the run that goes on, and of one that is about to begin."""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from threading import Thread

from PIL import Image
from torch import Tensor

from dpnb.metering.live import LiveMeter, WeighedMeter
from dpnb.metering.recorder import Recorder, RunRecorder
from dpnb.pipelines.listeners import Run
from dpnb.pipelines.settings.picture_settings import PictureSettings, PlanFrom, number_after
from dpnb.stages import Stage, Step
from dpnb.strategies.strategy import Plan
from dpnb.widgets.run_makeup import RunMakeup
from dpnb.widgets.state import Request


@dataclass(frozen=True, eq=False)
class ExpectedRun:
    """A run that is about to begin.

    Args:
        request: what is asked for.
        thread: on which it begins; `None` while that is not known.
    """

    request: Request
    thread: Thread | None = None


@dataclass(eq=False)
class CurrentRun:
    """A run that goes on, or that is over and not yet shown to be.

    Args:
        run: which one.
        recorder: what measures it.
        recording: of the run.
        plan: what was switched on when it began.
        used: what was switched on at any time of it.
        request: what was asked for; `None` where a cell began it.
        cleanup: stops what goes on beside it: sampling, and showing it.
        step: the last one that is done.
        step_ends: when its denoising steps were done.
        shown_step: the stage and the index of the last step that was shown; its tensors are the
            run's to free.
        foreseen: the latents without noise that the present step predicts, where that is shown.
        is_preview_due: whether they are; `None` before the step has predicted anything.
        unshown: the next preview: pictures, or latents that are shown by their colours.
        latents: of the last denoising step.
        settings: what its first picture is drawn with, where that is known.
        weights: bytes of the networks when it began, where that is known.
        makeup: what else decides it, where that is known.
        plans: what was switched on, at the beginning and from each step on where that changed.
        is_over: whether nothing more will be computed.
        counting: the meter, where it knows the weights.
    """

    run: Run
    recorder: Recorder
    recording: RunRecorder
    plan: Plan
    used: Plan
    request: Request | None
    cleanup: ExitStack = field(default_factory=ExitStack)
    step: Step | None = None
    step_ends: list[float] = field(default_factory=list)
    shown_step: tuple[Stage, int] | None = None
    foreseen: Tensor | None = None
    is_preview_due: bool | None = None
    unshown: deque[Tensor | list[Image.Image]] = field(default_factory=partial(deque, maxlen=1))
    latents: Tensor | None = None
    settings: PictureSettings | None = None
    weights: int | None = None
    makeup: RunMakeup | None = None
    plans: list[PlanFrom] = field(default_factory=list)
    is_over: bool = False
    counting: LiveMeter | WeighedMeter | None = None

    def __post_init__(self) -> None:
        self.plans.append(PlanFrom.of(0, self.plan))

    def note_plan(self, plan: Plan) -> None:
        """What is switched on from the next step on, in place of what was to be."""
        following = 1 if self.step is None else number_after(self.step)
        if following is not None:
            self.plans = [one for one in self.plans if one.step != following]
            self.plans.append(PlanFrom.of(following, plan))
