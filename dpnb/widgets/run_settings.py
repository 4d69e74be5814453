"""What the pictures of a run were drawn with, and requests for pictures that were drawn before."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from dpnb.metering.trace import RunTrace
from dpnb.pipelines.call_arguments import CallSignature
from dpnb.pipelines.explorable import ExplorablePipeline
from dpnb.pipelines.settings.model_identity import count_weight_bytes, describe_model
from dpnb.pipelines.settings.picture_settings import PROGRAM, PictureSettings
from dpnb.pipelines.settings.plain_values import split_plain
from dpnb.pipelines.settings.scheduler_settings import describe_scheduler
from dpnb.stages import Stage
from dpnb.widgets.run_makeup import RunMakeup
from dpnb.widgets.run_output import STILLS
from dpnb.widgets.state import FinishedRun, Request

logger = logging.getLogger(__name__)

TAKEN = ("prompt", "negative_prompt", "steps", "guidance_scale", "width", "height", "strength")
"""What settings say by a name of their own, and not every call takes."""

WORDS = ("prompt", "negative_prompt")
"""What several prompts are given by, a list of as many entries."""


def describe_request(pipe: ExplorablePipeline, request: Request) -> PictureSettings:
    """What the first picture of a request is drawn with now.

    Args:
        pipe: what draws it, with its scheduler and what is switched on.
        request: what is asked for.
    """
    asked = request.with_defaults(pipe)
    sized = request if pipe.picture_inputs else asked
    more, others = split_plain(dict(request.more))
    scheduler, settings = describe_scheduler(pipe.scheduler)
    model, model_hash = describe_model(pipe.name_or_path)
    return PictureSettings(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        steps=asked.steps,
        guidance_scale=asked.guidance_scale,
        seed=request.seed,
        width=sized.width,
        height=sized.height,
        strength=asked.strength,
        scheduler=scheduler,
        scheduler_settings=settings,
        is_scheduler_whole=scheduler is not None,
        more=more,
        missing=(*(name for name, _ in request.pictures), *others),
        pipeline=pipe.class_name,
        model=model,
        model_hash=model_hash,
        version=PROGRAM,
    )


def try_to_describe_run(
    pipe: ExplorablePipeline, request: Request | None
) -> tuple[PictureSettings | None, int | None, RunMakeup | None]:
    """What a run that begins is drawn with, how many bytes its weights have, and what they are.

    A run must not fail over what is only said of it: where it cannot be told it is `None`, as are
    the settings of what a cell asked for.
    """
    try:
        weights, makeup = count_weight_bytes(pipe), RunMakeup.of(pipe)
        return None if request is None else describe_request(pipe, request), weights, makeup
    except Exception:
        logger.exception("a run begins, but what it is drawn with cannot be told")
        return None, None, None


def list_picture_settings(run: FinishedRun) -> tuple[PictureSettings | None, ...]:
    """What each picture of a run was drawn with, each with a seed of its own.

    Args:
        run: a run that is over.

    Returns:
        As many as it has pictures; `None` where a cell asked for them.
    """
    return tuple(_settings_of(run, index) for index in range(len(run.pictures)))


def list_seeds(run: FinishedRun) -> tuple[int | None, ...]:
    """The seed of each picture of a run; `None` where a cell asked for it."""
    return tuple(None if one is None else one.seed for one in list_picture_settings(run))


def make_request(settings: PictureSettings, pipe: ExplorablePipeline | None = None) -> Request:
    """A request for a picture that was drawn before.

    Args:
        settings: what it was drawn with.
        pipe: what will draw it; what its call does not take is left out, and so is a scheduler that
            cannot take over: see `list_losses`. By default everything is kept.
    """
    more, scheduler = dict(settings.more), settings.scheduler
    set_there = dict(settings.scheduler_settings) if settings.is_scheduler_whole else None
    if pipe is not None:
        signature = pipe.call_signature
        more = {n: v for n, v in more.items() if n in signature or signature.is_open}
        scheduler, set_there = _choose_scheduler(settings, pipe)
    return Request(
        settings.prompt,
        settings.negative_prompt,
        settings.steps,
        settings.guidance_scale,
        settings.width,
        settings.height,
        0 if settings.seed is None else settings.seed,
        scheduler=scheduler,
        scheduler_settings=None if set_there is None else tuple(set_there.items()),
        strength=settings.strength,
        more=tuple(more.items()),
    )


def list_losses(settings: PictureSettings, pipe: ExplorablePipeline) -> tuple[str, ...]:
    """What of a picture's settings a request cannot ask of `pipe`, each a sentence.

    Args:
        settings: what it was drawn with.
        pipe: what will draw it.
    """
    return tuple(_find_losses(settings, pipe))


def _find_losses(settings: PictureSettings, pipe: ExplorablePipeline) -> Iterator[str]:
    present, signature = pipe.scheduler, pipe.call_signature
    if settings.scheduler and _choose_scheduler(settings, pipe)[0] is None:
        own = "there is none here" if present is None else f"{type(present).__name__} stays"
        yield f"Its {settings.scheduler} cannot take over here; {own}."
    if settings.sampler:
        yield f"Its sampler {settings.sampler} is not known; choose a scheduler."
    if settings.pipeline != pipe.class_name and (names := _find_untaken(settings, signature)):
        yield f"{', '.join(names)}: this pipeline does not take that."
    if settings.seed is None and "generator" in signature:
        yield "Its seed is not known."
    if settings.missing:
        yield f"{', '.join(settings.missing)}: no file keeps that; give it anew."
    if len(settings.plans) > 1:
        steps = ", ".join(str(one.step) for one in settings.plans[1:])
        yield f"What was switched at step {steps} is left out."
    model, model_hash = describe_model(pipe.name_or_path)
    is_other = settings.model_hash != model_hash if settings.model_hash and model_hash else True
    if settings.model and is_other and settings.model != model:
        yield f"It was drawn with {settings.model}; here is {model or 'a model without a name'}."


def _find_untaken(settings: PictureSettings, signature: CallSignature) -> list[str]:
    """The names of what was given that a call does not take."""
    own = {"steps": signature.steps, "guidance_scale": signature.guidance}
    given = [name for name in TAKEN if vars(settings)[name] not in (None, "")]
    names = [name for name in given if own.get(name, signature.find(name)) is None]
    more = [] if signature.is_open else [name for name in settings.more if name not in signature]
    return [*names, *more]


def _choose_scheduler(
    settings: PictureSettings, pipe: ExplorablePipeline
) -> tuple[str | None, dict[str, Any] | None]:
    """The scheduler of a picture, and all that is set there; `None` where it cannot take over."""
    if settings.scheduler is None:
        return None, None
    try:
        chosen = settings.make_scheduler(pipe.scheduler)
    except (ValueError, TypeError):
        return None, None
    name, values = describe_scheduler(chosen)
    return name, None if name is None else values


def _settings_of(run: FinishedRun, index: int) -> PictureSettings | None:
    if run.settings is None or run.request is None:
        return None
    done = run.trace.runs[0]
    measured = run.settings.after_run(run.plans, done.duration, done.peak)
    whole = replace(measured, remarks=_describe_end(done))
    batch = len(run.pictures) // (STILLS if run.output.animations else 1)
    place = index // (STILLS if run.output.animations else 1)
    return _single_out(whole, run.request, place, batch)


def _describe_end(done: RunTrace) -> tuple[tuple[str, str], ...]:
    """That a run was stopped on the way, and where."""
    if done.outcome == "finished":
        return ()
    steps = sum(step.is_complete and step.stage is Stage.DENOISING for step in done.steps)
    return (("Stopped after", f"{steps} steps"),)


def _single_out(
    settings: PictureSettings, request: Request, place: int, batch: int
) -> PictureSettings:
    """The settings of one picture out of a batch."""
    several = dict(request.more).get("prompt")
    prompts = len(several) if isinstance(several, (list, tuple)) and several else 1
    if batch % prompts or batch // prompts != request.count:
        return replace(settings, remarks=(*settings.remarks, ("Batch pos", str(place))))
    more: dict[str, Any] = dict(settings.more)
    for name, value in settings.more.items():
        is_one_each = isinstance(value, list) and len(value) == prompts
        if is_one_each and name.startswith(WORDS):
            more[name] = value[place // request.count]
    words = {name: more.pop(name) for name in WORDS if isinstance(more.get(name), str)}
    return replace(settings, **words, more=more, seed=request.seed + place)
