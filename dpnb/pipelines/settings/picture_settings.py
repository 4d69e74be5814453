"""What a picture was drawn with: a value that survives JSON, and draws the picture again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from typing_extensions import Self

import dpnb
from dpnb.errors import DpnbError
from dpnb.generators import LEAST_SEED, MOST_SEED, make_generator
from dpnb.numbers import coerce_numbers, parse_int
from dpnb.pipelines.attached.attach import to_explorable
from dpnb.pipelines.explorable import ExplorablePipeline
from dpnb.pipelines.settings.scheduler_settings import exchange_scheduler, restore_scheduler
from dpnb.stages import Stage, Step
from dpnb.strategies.plans import plan_from_json, plan_to_json
from dpnb.strategies.strategy import Plan, Strategy
from dpnb.validation import Range, from_plain, to_plain

if TYPE_CHECKING:
    from PIL.Image import Image

FORMAT = "dpnb picture 1"

PROGRAM = f"dpnb {dpnb.__version__}"
"""How files name what has drawn a picture."""

Seed: TypeAlias = Annotated[int, Range(LEAST_SEED, MOST_SEED)]


class PictureSettingsError(DpnbError, ValueError):
    """A picture's settings are missing or damaged, or do not suffice to draw it again."""


@dataclass(frozen=True)
class PlanFrom:
    """What is switched on from a step on.

    Args:
        step: 0 is the beginning of the run, 1 the first denoising step; what is switched after the
            last one has the next number, and acts on decoding.
        strategies: as `plan_to_json` writes them.
    """

    step: int
    strategies: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)

    @classmethod
    def of(cls, step: int, plan: Iterable[Strategy]) -> Self:
        """That of a plan."""
        return cls(step, tuple(plan_to_json(plan)))

    @property
    def plan(self) -> Plan:
        """The strategies.

        Raises:
            ValueError: one is unknown.
        """
        return plan_from_json(self.strategies)


@dataclass(frozen=True)
class PictureSettings:
    """What a picture was drawn with.

    Args:
        prompt: in words.
        negative_prompt: what not to draw.
        steps: of denoising.
        guidance_scale: how strongly the prompt steers.
        seed: of the noise of this very picture.
        width: in pixels.
        height: likewise.
        strength: how much of the schedule was gone through from a picture on.
        scheduler: the class; `None` where it is not known.
        scheduler_settings: those that are not the class's own defaults, or that a sampler's name
            stands for.
        is_scheduler_whole: whether these are all; else the rest is that of the model's scheduler.
        sampler: as a program has called it whose name for it is not known here.
        more: further arguments of the call, plain values.
        missing: arguments that no file of settings can hold, such as pictures and embeddings.
        pipeline: the class.
        model: what it was loaded from: a repository's name, or that of a folder or a file.
        model_hash: the first digits of the SHA-256 of its weights.
        plans: what was switched on, at the beginning and from each step on where that changed.
        version: the program that has drawn it.
        seconds: that the run took.
        peak: the most bytes that were in use.
        remarks: what else a program has written, pairs of a name and what it says.
    """

    prompt: str = ""
    negative_prompt: str = ""
    steps: int | None = None
    guidance_scale: float | None = None
    seed: Seed | None = None
    width: int | None = None
    height: int | None = None
    strength: float | None = None
    scheduler: str | None = None
    scheduler_settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    is_scheduler_whole: bool = False
    sampler: str = ""
    more: Mapping[str, Any] = field(default_factory=dict, hash=False)
    missing: tuple[str, ...] = ()
    pipeline: str | None = None
    model: str | None = None
    model_hash: str | None = None
    plans: tuple[PlanFrom, ...] = ()
    version: str = ""
    seconds: float | None = None
    peak: int | None = None
    remarks: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        coerce_numbers(self)
        if self.seed is not None:
            seed = parse_int("seed", self.seed, LEAST_SEED, MOST_SEED)
            object.__setattr__(self, "seed", seed)

    def to_json(self) -> dict[str, Any]:
        """The settings as plain JSON values; `from_json` makes equal ones of them."""
        return {"format": FORMAT, **to_plain(self)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The settings that `to_json` has described; what a later version adds is left out.

        Raises:
            PictureSettingsError: `values` describe something else.
        """
        if values.get("format") != FORMAT:
            raise PictureSettingsError(
                f"the format is {values.get('format')!r}; what can be read is {FORMAT!r}."
            )
        known = {item.name for item in fields(cls)}
        own = {name: value for name, value in values.items() if name in known}
        try:
            return from_plain(cls, own, "settings")
        except (ValueError, TypeError) as error:
            raise PictureSettingsError(str(error)) from error

    def after_run(self, plans: Iterable[PlanFrom], seconds: float, peak: int) -> Self:
        """The same with what was switched on in the run, and what it has cost."""
        return replace(self, plans=tuple(plans), seconds=seconds, peak=peak)

    def call(self, pipe: Any, **given: Any) -> dict[str, Any]:
        """The arguments with which `pipe` draws the picture again, as far as a call decides it.

        Scheduler and strategies are not arguments; see `draw`.

        Args:
            pipe: a pipeline; one that was not written here is attached, and stays so.
            given: what these settings lack, or other values for arguments of the call.

        Raises:
            PictureSettingsError: something is missing.
        """
        signature = to_explorable(pipe).call_signature
        lacking = [name for name in self.missing if name not in given]
        if lacking:
            raise PictureSettingsError(
                f"{', '.join(lacking)} cannot be kept with a picture; give "
                f"{'it' if len(lacking) == 1 else 'them'} anew, as in "
                f"settings.draw(pipe, {lacking[0]}=...)."
            )
        named = {"steps": signature.steps, "guidance_scale": signature.guidance}
        values: dict[str, Any] = {
            "prompt": self.prompt,
            "negative_prompt": self.negative_prompt or None,
            "width": self.width,
            "height": self.height,
            "strength": self.strength,
            "generator": None if self.seed is None else make_generator(self.seed),
        }
        values |= {one.name: getattr(self, key) for key, one in named.items() if one is not None}
        if "prompt_embeds" in given and not self.prompt:
            del values["prompt"]
        return {**signature.select(values), **self.more, **given}

    def make_scheduler(self, present: Any) -> Any:
        """The scheduler that has drawn the picture, as far as it is known.

        Args:
            present: that of the pipeline, which is returned where nothing is known.

        Raises:
            ValueError: it cannot take over from the present one.
        """
        return restore_scheduler(
            self.scheduler, self.scheduler_settings, present, is_whole=self.is_scheduler_whole
        )

    def draw(self, pipe: Any, **given: Any) -> Image:
        """Draw the picture again: the same scheduler, and what was switched on at each step.

        Scheduler and strategies of `pipe` are the former ones afterwards.

        Args:
            pipe: a pipeline of the same model; one that was not written here is attached, and stays
                so.
            given: see `call`.

        Raises:
            PictureSettingsError: something is missing, or the pipeline draws no picture.
            ValueError: the scheduler or a strategy cannot serve here.
        """
        explored = to_explorable(pipe)
        arguments = self.call(explored, **given)
        plans = {one.step: one.plan for one in self.plans}
        with ExitStack() as around:
            scheduler = self.make_scheduler(explored.scheduler)
            around.enter_context(exchange_scheduler(explored, scheduler))
            if plans:
                first = plans.pop(min(plans))
                around.enter_context(explored.strategies.using(*first))
            return _draw(explored, arguments, plans)


def _draw(pipe: ExplorablePipeline, arguments: dict[str, Any], plans: dict[int, Plan]) -> Image:
    """The first picture of a run in which other plans come on from some steps on."""
    output = None
    for step in pipe.stream(**arguments):
        output, following = step.output, number_after(step)
        if following in plans:
            pipe.strategies.use(plans[following])
    if not isinstance(output, Mapping) or not output.get("images"):
        raise PictureSettingsError("This pipeline draws no picture; take one that does.")
    picture: Image = output["images"][0]
    return picture


def number_after(step: Step) -> int | None:
    """The number of the denoising step that follows, from 1; `None` after decoding."""
    if step.stage is Stage.DECODING:
        return None
    return step.index + 2 if step.stage is Stage.DENOISING else 1
