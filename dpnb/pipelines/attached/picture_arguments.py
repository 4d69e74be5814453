"""The pictures among the arguments of a pipeline's call."""

from __future__ import annotations

from dpnb.pipelines.call_arguments import CallSignature
from dpnb.pipelines.pictures.inputs import PictureInput


def list_picture_inputs(signature: CallSignature) -> tuple[PictureInput, ...]:
    """The pictures that a call takes, those first that must be given."""
    taken = sorted(signature.pictures, key=lambda one: not one.is_required)
    return tuple(
        PictureInput(
            one.name,
            one.label,
            f"the argument {one.name}",
            "mask" in one.name,
            not one.is_required,
        )
        for one in taken
    )
