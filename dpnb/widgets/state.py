"""The states that panels show and observe; nothing here knows of widgets.

Traits are replaced, never mutated.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from traitlets import All, Bool, Bytes, HasTraits, Instance, Int, Tuple, Unicode
from typing_extensions import override

from dpnb.generators import make_generator
from dpnb.metering.trace import Trace
from dpnb.numbers import coerce_numbers, parse_int
from dpnb.planning.workload_arguments import default_steps
from dpnb.stages import Stage
from dpnb.strategies.strategy import Plan
from dpnb.widgets.run_output import RunOutput

if TYPE_CHECKING:
    from PIL.Image import Image

    from dpnb.pipelines.call_arguments import CallSignature
    from dpnb.pipelines.explorable import ExplorablePipeline
    from dpnb.pipelines.settings.picture_settings import PictureSettings, PlanFrom
    from dpnb.pipelines.settings.plain_values import Pairs
    from dpnb.widgets.run_makeup import RunMakeup

logger = logging.getLogger(__name__)

NO_PREVIEW, TINY_PREVIEW = -1, -2
"""Further values of `RunState.preview_every`: no preview, and those of a tiny decoder."""


@dataclass(frozen=True)
class Request:
    """What to draw.

    Args:
        prompt: in words.
        negative_prompt: what not to draw; empty for nothing.
        steps: of denoising; `None` for the pipeline's own number.
        guidance_scale: how strongly the prompt steers; `None` for the pipeline's own.
        width: in pixels; `None` for the model's own.
        height: likewise.
        seed: of the first picture's noise; every further picture has the next number.
        count: how many pictures.
        scheduler: the class that leads through the steps; `None` for the one that is there.
        scheduler_settings: all that is set there and not the class's own default; `None` for what
            is set now.
        strength: how much of the schedule is gone through from a picture on; `None` for the
            pipeline's own.
        pictures: pairs of an argument and the picture, the pictures or the sound that it is given.
        more: pairs of a further argument of the pipeline's call and its value.
        loads: pairs of an argument and Python that reads its value from the file that was chosen.
    """

    prompt: str
    negative_prompt: str = ""
    steps: int | None = None
    guidance_scale: float | None = None
    width: int | None = None
    height: int | None = None
    seed: int = 0
    count: int = 1
    scheduler: str | None = None
    strength: float | None = None
    scheduler_settings: Pairs | None = field(default=None, hash=False, repr=False)
    pictures: tuple[tuple[str, Any], ...] = field(default=(), hash=False, repr=False)
    more: tuple[tuple[str, Any], ...] = field(default=(), hash=False)
    loads: tuple[tuple[str, str], ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        coerce_numbers(self)
        parse_int("count", self.count, least=1)

    def with_defaults(self, pipe: ExplorablePipeline) -> Request:
        """The same with the pipeline's own numbers where none are given, as far as they are known.

        Args:
            pipe: what draws it.
        """
        signature = pipe.call_signature
        guidance = signature.guidance
        height, width = pipe.default_size() or (None, None)
        own = {
            "steps": None if signature.steps is None else default_steps(pipe),
            "guidance_scale": None if guidance is None else signature.default(guidance.name),
            "height": height,
            "width": width,
            "strength": signature.default("strength"),
        }
        values = {name: getattr(self, name) for name in own}
        return replace(self, **{name: own[name] for name in own if values[name] is None})

    def with_card(self, signature: CallSignature, numbers: Mapping[str, float]) -> Request:
        """The same with the numbers of a model card where none are given.

        Args:
            signature: of the pipeline's call.
            numbers: of the card, by the names of the call.
        """
        fields = {name: field for field, name in _names_in(signature).items()}
        fields |= {name: name for name in ("width", "height", "strength")}
        free = {name: field for name, field in fields.items() if getattr(self, field) is None}
        chosen: dict[str, Any] = {free[name]: n for name, n in numbers.items() if name in free}
        known = {*fields, *dict(self.more)}
        further = {name: number for name, number in numbers.items() if name not in known}
        return replace(self, **chosen, more=(*self.more, *further.items()))

    def arguments(self, signature: CallSignature | None = None) -> dict[str, Any]:
        """The same as arguments of a pipeline's call: what is given, and what the call takes of it.

        Args:
            signature: of the call, which has its own names for steps, guidance and count, and may
                take less; by default one with the names of dpnb's own pipelines.
        """
        names = _names_in(signature)
        seeds = range(self.seed, self.seed + (self.count if names["count"] else 1) * self._prompts)
        generators = [make_generator(seed) for seed in seeds]
        values = {
            "prompt": self.prompt,
            "negative_prompt": self.negative_prompt or None,
            names["steps"]: self.steps,
            names["guidance_scale"]: self.guidance_scale,
            "width": self.width,
            "height": self.height,
            names["count"]: self.count,
            "strength": self.strength,
            "generator": generators[0] if len(generators) == 1 else generators,
        }
        given = {name: value for name, value in values.items() if name and value is not None}
        taken = given if signature is None else signature.select(given)
        if signature is not None and self._is_encoded(signature):
            taken.pop("prompt", None)
        return {**taken, **dict(self.pictures), **dict(self.more)}

    @property
    def _prompts(self) -> int:
        """How many prompts there are: further ones can be given in a list."""
        several = dict(self.more).get("prompt")
        return len(several) if isinstance(several, (list, tuple)) and several else 1

    def _is_encoded(self, signature: CallSignature) -> bool:
        """Whether the prompt was given as its embeddings, and not in words."""
        prompt = signature.find("prompt")
        return (
            not self.prompt
            and prompt is not None
            and not prompt.is_required
            and any(name == "prompt_embeds" for name, _ in self.more)
        )


OWN_NAMES: Mapping[str, str] = {
    "steps": "num_inference_steps",
    "guidance_scale": "guidance_scale",
    "count": "num_images_per_prompt",
}
"""What fields of a request are called in the calls of dpnb's own pipelines."""


def _names_in(signature: CallSignature | None) -> Mapping[str, str]:
    """What fields of a request are called in a call; empty where it takes none."""
    if signature is None:
        return OWN_NAMES
    found = {
        "steps": signature.steps,
        "guidance_scale": signature.guidance,
        "count": signature.count,
    }
    return {field: "" if one is None else one.name for field, one in found.items()}


EXAMPLE = Request("a red apple", steps=20, guidance_scale=5.0)
"""What dpnb's own pipelines are asked for until somebody has words of their own."""


@dataclass(frozen=True)
class Progress:
    """How far a run has come.

    Args:
        stage: what is being done; `None` before anything is.
        done: completed steps of the stage.
        total: steps of the stage.
        seconds_left: of the denoising, as far as that can be told.
    """

    stage: Stage | None = None
    done: int = 0
    total: int = 0
    seconds_left: float | None = None


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """A run that is over.

    Args:
        number: counts from 1; none is given twice.
        request: what was asked for; `None` where the run was not started by a panel.
        plan: what was switched on when it began.
        used: what was switched on at any time of it.
        trace: what was measured of it; it holds this run alone.
        pictures: what it has drawn, of a video some frames; none where it was stopped or failed.
        output: all that it has brought.
        name: that somebody has given it.
        settings: what its first picture was drawn with, but for what was switched on; `None` where
            that is not known.
        plans: what was switched on, at the beginning and from each step on where that changed.
        weights: bytes of all networks when it began, where that is known.
        makeup: what else has decided it, where that is known.
        asked: the very request that a panel gave, without what was left to the pipeline.
    """

    number: int
    request: Request | None
    plan: Plan
    used: Plan
    trace: Trace
    pictures: tuple[Image, ...] = field(default=(), repr=False)
    output: RunOutput = field(default_factory=RunOutput, repr=False)
    settings: PictureSettings | None = field(default=None, repr=False)
    plans: tuple[PlanFrom, ...] = field(default=(), repr=False)
    weights: int | None = field(default=None, repr=False)
    name: str = ""
    asked: Request | None = field(default=None, repr=False)
    makeup: RunMakeup | None = field(default=None, repr=False)

    @property
    def is_finished(self) -> bool:
        """Whether it came to its end and has drawn something."""
        return self.trace.runs[0].outcome == "finished" and bool(self.pictures)

    @property
    def wanted(self) -> Request | None:
        """What asks for it again, also for what its scheduler was set to."""
        if self.request is None or self.settings is None or self.settings.scheduler is None:
            return self.request
        settings = tuple(self.settings.scheduler_settings.items())
        return replace(self.request, scheduler=self.settings.scheduler, scheduler_settings=settings)

    @property
    def title(self) -> str:
        """Its name, or else its number."""
        return self.name or f"Run {self.number}"


@dataclass(frozen=True)
class SafeHandler:
    """Calls an observer, and logs its failure instead of raising it.

    Args:
        handler: is told of a change.
    """

    handler: Callable[[Any], None]

    def __call__(self, change: Any) -> None:
        """Pass a change on."""
        try:
            self.handler(change)
        except Exception:
            logger.exception("%r has failed; all else goes on", self.handler)


class State(HasTraits):
    """Observable values; observers are called by the thread that changes them.

    A run changes them while it goes on, and must come to its end whatever an observer does: its
    failures are logged.
    """

    @override
    def observe(self, handler: Any, names: Any = All, type: Any = "change") -> None:
        super().observe(SafeHandler(handler), names, type)

    @override
    def unobserve(self, handler: Any, names: Any = All, type: Any = "change") -> None:
        super().unobserve(SafeHandler(handler), names, type)


class StrategyState(State):
    """What is switched on at a pipeline, and what will be."""

    active = Instance(frozenset, args=())
    """The strategies that are switched on; always those of the stack."""

    wanted = Instance(frozenset, args=())
    """What will be switched on once what waits for the next step has been done."""

    message = Unicode()
    """What has become of the last request; empty where there is nothing to say."""

    is_refused = Bool(False)
    """Whether the message says why a request was refused."""

    revision = Int(0)
    """Counts what has been said about requests, also where it is the same again."""


class RunState(State):
    """The present run of a pipeline, and those before it."""

    phase = Unicode("idle")
    """"idle", "running" or "stopping"."""

    message = Unicode()
    """What goes on, or how the last run ended, in words."""

    error = Unicode()
    """Why the last run failed or could not begin; empty otherwise."""

    memory_saver = Instance("dpnb.strategies.strategy.Strategy", allow_none=True)
    """What to switch on against the error, where that is known."""

    failed = Instance(Request, allow_none=True)
    """What the last run was asked for where it has failed; `None` too where a cell had asked."""

    progress = Instance(Progress, args=())
    """How far the run has come."""

    picture = Bytes()
    """The last picture or preview, as a PNG file; empty before the first one."""

    pictured = Instance(Request, allow_none=True)
    """What the picture shows; `None` where a cell asked for it."""

    is_preview = Bool(False)
    """Whether the picture is one of a run that goes on or was stopped."""

    pictures = Tuple()
    """The pictures of the last finished run."""

    output = Instance(RunOutput, args=())
    """All that the last finished run has brought."""

    restored = Instance(Request, allow_none=True)
    """What somebody wants to ask for again; `None` in between."""

    trace = Instance(Trace, allow_none=True)
    """What has been measured of the present or last run."""

    history = Tuple()
    """The runs that are over, in the order in which they ended: `FinishedRun`s."""

    queue = Tuple()
    """What waits to be drawn: `Request`s."""

    baseline = Int(0)
    """The number of the run that others are compared with; 0 is the first one."""

    verdicts = Instance(dict, args=())
    """How far pictures differ: the numbers of a run and of its baseline → a `Verdict`."""

    preview_every = Int(0)
    """After how many steps a preview is decoded; 0 shows a colour for each latent, -1 nothing.

    -2 shows what a tiny decoder makes of the latents, or their colours where there is none.
    """

    preview_decoder = Instance("torch.nn.Module", allow_none=True)
    """The tiny decoder that somebody wants to be used in place of the pipeline's, if it has one."""

    meter = Unicode()
    """The name of the meter that runs are measured with."""

    def keep_runs(self, runs: Iterable[FinishedRun]) -> None:
        """Make these the runs that are over; how others differed is forgotten with them.

        Args:
            runs: in the order in which they ended.
        """
        with self.hold_trait_notifications():
            self.history = tuple(runs)
            numbers = {run.number for run in self.history}
            known = self.verdicts
            kept = {pair: verdict for pair, verdict in known.items() if numbers.issuperset(pair)}
            self.verdicts = known if len(kept) == len(known) else kept

    def note_verdict(self, run: FinishedRun, baseline: FinishedRun, verdict: Any) -> None:
        """Keep how far the pictures of two runs differ, unless one is forgotten already.

        Args:
            run: a run.
            baseline: what it was compared with.
            verdict: what was found.
        """
        known = {id(one.pictures) for one in self.history}
        if {id(run.pictures), id(baseline.pictures)} <= known:
            self.verdicts = {**self.verdicts, (run.number, baseline.number): verdict}
