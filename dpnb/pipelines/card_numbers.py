"""The numbers that a checkpoint's own model card shows in a call of a pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

from dpnb.loading.card_examples import CardExample, find_examples
from dpnb.loading.model_card import read_card
from dpnb.pipelines.call_arguments import COUNTS, PLUMBING, STEPS, ArgumentKind, CallArgument
from dpnb.pipelines.explorable import ExplorablePipeline

GENERIC = ("DiffusionPipeline", "AutoPipelineForText2Image")
FROM_PICTURES = ("AutoPipelineForImage2Image", "AutoPipelineForInpainting")
"""Classes that make a pipeline of another class, as the checkpoint says."""

PICTURES = ("image", "mask_image")
"""What is given beside words by those who begin with a picture."""

NO_DEFAULTS = PLUMBING | {*COUNTS, "denoising_end", "denoising_start", "seed"}
"""What an example chooses for itself."""

SIZES = ("height", "width")
LIMITS: Mapping[str, int] = {
    **dict.fromkeys(STEPS, 1000),
    **dict.fromkeys(SIZES, 1 << 14),
    "num_frames": 1 << 12,
}
"""The most that is believed."""


def read_card_numbers(pipe: ExplorablePipeline) -> dict[str, float]:
    """What the card of the checkpoint that `pipe` was loaded from shows, if it is on this machine.

    Returns:
        The numbers of the call, by its names; none where nothing is known.
    """
    name = pipe.name_or_path
    return {} if name is None else choose_numbers(read_card(name), pipe, name)


def choose_numbers(text: str, pipe: ExplorablePipeline, name: str) -> dict[str, float]:
    """The numbers that a card gives to a call of `pipe` in the example that fits best.

    That is the first of those that load the checkpoint by its name, and of these that name the
    class of the pipeline. Examples of other classes, or with a LoRA, are left out.

    Args:
        text: of the card.
        pipe: the pipeline.
        name: the folder or repository of the checkpoint.
    """
    fitting = [example for example in find_examples(text) if _fits(example, pipe)]
    best = max(fitting, key=lambda one: _rank(one, pipe, name), default=None)
    if best is None:
        return {}
    return {
        one.name: value
        for one in pipe.call_signature.settings
        if one.name not in NO_DEFAULTS
        and (value := best.arguments.get(one.name)) is not None
        and _is_possible(one, value, pipe.size_unit)
    }


def _fits(example: CardExample, pipe: ExplorablePipeline) -> bool:
    """Whether it is a call of such a pipeline; pictures tell where the class does not."""
    if example.is_adapted or example.class_name == pipe.class_name:
        return not example.is_adapted
    signature = pipe.call_signature
    if example.class_name in FROM_PICTURES and "image" not in signature:
        return False
    if example.class_name not in (None, *GENERIC, *FROM_PICTURES):
        return False
    begins_with_picture = "strength" in signature
    needed = {one.name for one in signature.pictures if one.is_required}
    needed |= {name for name in PICTURES if begins_with_picture and name in signature}
    given = {name for name in PICTURES if name in example.arguments}
    return needed <= example.arguments.keys() and all(name in signature for name in given)


def _rank(example: CardExample, pipe: ExplorablePipeline, name: str) -> tuple[bool, ...]:
    loaded = example.repository or ""
    is_alike = bool(loaded) and PurePath(loaded).name == PurePath(name).name
    is_shown = example.class_name is not None
    return loaded == name, is_alike, example.class_name == pipe.class_name, is_shown


def _is_possible(argument: CallArgument, value: float, unit: int) -> bool:
    """Whether it is a number of the kind that the call takes, within what is believed."""
    if isinstance(value, bool) or argument.kind is ArgumentKind.FLAG:
        return isinstance(value, bool) and argument.kind is ArgumentKind.FLAG
    if argument.kind is ArgumentKind.COUNT and not isinstance(value, int):
        return False
    if argument.name not in LIMITS:
        return argument.kind in (ArgumentKind.COUNT, ArgumentKind.NUMBER)
    is_size = argument.name in SIZES
    return 0 < value <= LIMITS[argument.name] and (not is_size or value % unit == 0)
