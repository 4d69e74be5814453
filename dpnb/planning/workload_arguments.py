"""A workload as the arguments that a pipeline's call knows, with its own defaults."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from dpnb.generators import make_generator
from dpnb.pipelines.call_arguments import ArgumentKind, CallArgument, CallSignature
from dpnb.pipelines.explorable import ExplorablePipeline
from dpnb.pipelines.pictures.inputs import PictureInput
from dpnb.planning.workload import EXAMPLE, Workload

USUAL_STEPS = 20
"""Where a call does not say how many steps it makes."""

ADDITIONAL = ("ip_adapter", "negative", "original", "last")
"""Pictures whose names begin so are given by those alone who want them."""

SHOWN = (ArgumentKind.PICTURE, ArgumentKind.PICTURES, ArgumentKind.VIDEO)

SAMPLE = 'prompt="red apple", steps=20'

PLAIN = Workload()

MOST_PIXELS = 1 << 14
"""Along a side: a larger picture has so many tiles that nobody would wait for the plan."""

DISTILLED_STEPS = 4
"""Of FLUX.1 that was distilled for so many, without an input for guidance (schnell)."""


def with_defaults_of(pipe: ExplorablePipeline, workload: Workload) -> Workload:
    """A workload with the size, the steps and the guidance that `pipe` has where none are given."""
    steps = default_steps(pipe) if workload.steps is None else workload.steps
    guidance = workload.guidance_scale
    if guidance is None and not is_distilled(pipe):
        guidance = _default_guidance(pipe)
    return replace(workload.with_size(pipe.default_size()), steps=steps, guidance_scale=guidance)


def check_workload(pipe: ExplorablePipeline, workload: Workload) -> None:
    """Refuse numbers that a pipeline's call would not be told of, and those beyond reason.

    Raises:
        TypeError: it is no workload.
        ValueError: the call takes nothing of the kind, or the picture is too large.
    """
    if not isinstance(workload, Workload):
        raise TypeError(
            f"workload is {workload!r}; give a Workload, such as dpnb.Workload({SAMPLE})."
        )
    for name in ("height", "width"):
        if (getattr(workload, name) or 0) > MOST_PIXELS:
            raise ValueError(
                f"{name} is {getattr(workload, name)}; plans go up to {MOST_PIXELS} pixels a side."
            )
    signature = pipe.call_signature
    if signature.is_open:
        return
    kinds = {one.kind for one in signature}
    has_pictures = bool(pipe.picture_inputs) or not kinds.isdisjoint(SHOWN)
    takes = {
        "height": "height" in signature or has_pictures,
        "width": "width" in signature or has_pictures,
        "batch": "prompt" in signature or signature.count is not None,
        "steps": signature.steps is not None,
        "guidance_scale": signature.guidance is not None,
        "frames": "num_frames" in signature or ArgumentKind.VIDEO in kinds,
    }
    for name, is_taken in takes.items():
        value = getattr(workload, name)
        if not is_taken and value not in (None, getattr(PLAIN, name)):
            raise ValueError(
                f"{name} is {value}, and a call of {pipe.class_name} takes nothing of the kind; "
                "leave it out."
            )


def with_card(
    signature: CallSignature,
    workload: Workload,
    numbers: Mapping[str, float],
    given: Collection[str] = (),
) -> Workload:
    """A workload with the numbers of a model card where none are given.

    Args:
        signature: of the call.
        workload: what is drawn.
        numbers: of the card, by the names of the call.
        given: names of further arguments that the call is given.
    """
    fields: dict[str, str] = {"height": "height", "width": "width", "num_frames": "frames"}
    for one, field in ((signature.steps, "steps"), (signature.guidance, "guidance_scale")):
        if one is not None:
            fields[one.name] = field
    known = {*dict(workload.more), *given}
    known |= {name for name, field in fields.items() if getattr(workload, field) is not None}
    taken = {name: number for name, number in numbers.items() if name not in known}
    chosen: dict[str, Any] = {fields[n]: number for n, number in taken.items() if n in fields}
    further = {name: number for name, number in taken.items() if name not in fields}
    return replace(
        workload,
        **chosen,
        more=(*workload.more, *further.items()),
        from_card=(*workload.from_card, *chosen, *further),
    )


def default_steps(pipe: ExplorablePipeline) -> int:
    """Denoising steps of a call that does not say how many: what the pipeline's signature says.

    One class serves both forms of FLUX.1; the settings of the distilled one tell it.
    """
    if is_distilled(pipe):
        return DISTILLED_STEPS
    steps = pipe.call_signature.steps
    given = None if steps is None else steps.default
    return given if isinstance(given, int) else USUAL_STEPS


def is_distilled(pipe: ExplorablePipeline) -> bool:
    """Whether this is FLUX.1 schnell, which takes few steps, and no guidance."""
    return any(
        type(part).__name__ == "FluxTransformer2DModel" and not part.config["guidance_embeds"]
        for part in pipe.parts().values()
    )


def _default_guidance(pipe: ExplorablePipeline) -> float | None:
    guidance = pipe.call_signature.guidance
    given = None if guidance is None else guidance.default
    return float(given) if isinstance(given, (int, float)) else None


def arguments_for(
    pipe: ExplorablePipeline, workload: Workload, *, optional_pictures: bool = False
) -> dict[str, Any]:
    """The arguments of a call of `pipe`: those of a workload by the names that it knows.

    The output is arrays instead of pictures.

    Args:
        pipe: the pipeline.
        workload: what is drawn.
        optional_pictures: whether pictures are made up that the signature does not ask for; those
            that it does ask for always are.
    """
    signature = pipe.call_signature
    values: dict[str, Any] = {
        "prompt": workload.prompt,
        "height": workload.height,
        "width": workload.width,
        "num_frames": workload.frames,
        "generator": make_generator(workload.seed),
        **dict(workload.more),
        **_numbers(signature, workload),
        **_pictures(signature, workload, optional_pictures),
    }
    if signature.default("output_type") == "pil":
        values["output_type"] = "np"
    return signature.select(values)


def limit_steps(
    signature: CallSignature, arguments: Mapping[str, Any], most: int
) -> dict[str, Any]:
    """The arguments with no more steps than `most`, in any loop of the run."""
    given = {**arguments}
    for one in signature:
        if one.name.endswith("num_inference_steps"):
            steps = given.get(one.name, one.default)
            given[one.name] = min(steps, most) if isinstance(steps, int) else most
    return given


def _numbers(signature: CallSignature, workload: Workload) -> dict[str, Any]:
    """Steps, guidance, and how many are drawn."""
    found = {
        signature.steps: workload.steps,
        signature.guidance: workload.guidance_scale,
        signature.count: workload.batch,
    }
    numbers: dict[str, Any] = {one.name: v for one, v in found.items() if one is not None}
    if signature.count is None and workload.batch > 1:
        numbers["prompt"] = [workload.prompt] * workload.batch
    return numbers


def _pictures(signature: CallSignature, workload: Workload, optional: bool) -> dict[str, Any]:
    """Made-up pictures and videos; those that need not be given only if `optional`."""
    height, width = workload.height or EXAMPLE, workload.width or EXAMPLE
    made: dict[str, Any] = {}
    for one in signature:
        if one.kind not in (ArgumentKind.PICTURE, ArgumentKind.VIDEO):
            continue
        if one.is_required or (optional and not one.name.startswith(ADDITIONAL)):
            made[one.name] = _example(one, height, width, workload.frames or 1)
    return made


def _example(one: CallArgument, height: int, width: int, frames: int) -> Any:
    """A made-up picture, mask or video."""
    is_mask = "mask" in one.name
    picture = PictureInput(one.name, one.label, "", is_mask).example(height, width)
    picture = picture if is_mask else picture.convert("RGB")
    return [picture] * frames if one.kind is ArgumentKind.VIDEO else picture
