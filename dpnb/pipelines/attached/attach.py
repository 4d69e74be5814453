"""Attaching: from the object that somebody has to the instrument on it."""

from __future__ import annotations

from collections.abc import Iterable
from types import NoneType
from typing import Any

from torch import nn

from dpnb.pipelines.attached.attached_pipeline import AttachedPipeline, AttachError
from dpnb.pipelines.attached.heard_class import studio_of
from dpnb.pipelines.attached.parts import find_parts
from dpnb.pipelines.attached.roles import Role, find_roles
from dpnb.pipelines.explorable import ExplorablePipeline
from dpnb.pipelines.pipeline import DiffusionPipeline
from dpnb.pipelines.text_to_image import TextToImagePipeline
from dpnb.strategies.execution_device import ATTRIBUTE as HOOK
from dpnb.strategies.execution_device import ExecutionDevice

MOVING_HOOKS = frozenset({"group_offloading", "layerwise_casting"})
"""Hooks of diffusers that move or cast weights around calls, which strategies do as well."""


def attach(pipe: Any) -> AttachedPipeline:
    """The instrument on a pipeline of whatever class, as one of diffusers.

    ```python
    studio = dpnb.attach(pipe)
    studio.strategies.enable(dpnb.SequentialOffload(budget="4GiB"))
    pipe("red apple")
    studio.detach()
    ```

    The pipeline stays the same object with the same weights; until `detach()` its calls are heard.

    Args:
        pipe: a loaded pipeline. Attached again, it has the same instrument.

    Raises:
        AttachError: it is no pipeline, or one whose runs or weights somebody else looks after.
    """
    if isinstance(pipe, AttachedPipeline):
        return pipe
    studio: AttachedPipeline | None = studio_of(pipe)
    if studio is None:
        _refuse(pipe)
        studio = AttachedPipeline(pipe)
    return studio


def to_explorable(pipe: Any) -> ExplorablePipeline:
    """A pipeline of dpnb as it is; any other attached.

    Raises:
        AttachError: it is no pipeline, or cannot be attached.
    """
    if isinstance(pipe, TextToImagePipeline):
        return pipe
    if isinstance(pipe, DiffusionPipeline):
        raise AttachError(
            f"This {type(pipe).__name__} draws in a loop of its own, whose steps nobody hears; "
            "derive it from a pipeline of dpnb that draws, such as StableDiffusionPipeline."
        )
    return attach(pipe)


def _refuse(pipe: Any) -> None:
    """Say why `pipe` cannot be attached, where it cannot."""
    name = type(pipe).__name__
    if isinstance(pipe, type):
        raise AttachError(
            f"{pipe.__name__} is a class; attach the pipeline that its from_pretrained returns."
        )
    if isinstance(pipe, DiffusionPipeline):
        raise AttachError(
            f"This {name} is a pipeline of dpnb, which needs no attaching; use it as it is."
        )
    if any(base.__name__ == "ModularPipeline" for base in type(pipe).__mro__):
        raise AttachError(
            f"{name} is a modular pipeline, whose blocks run in any order; attach an ordinary one "
            "over the same components, such as DiffusionPipeline.from_pretrained gives."
        )
    parts = find_parts(pipe) if "__dict__" in dir(pipe) else {}
    if (
        not callable(pipe)
        or isinstance(pipe, nn.Module)
        or not any(isinstance(part, nn.Module) for part in parts.values())
    ):
        raise AttachError(
            f"{name} is no pipeline: it is not called to draw, or has no networks; give what "
            "DiffusionPipeline.from_pretrained returns."
        )
    if Role.SCHEDULER not in find_roles(parts).values():
        raise AttachError(
            f"This {name} has no scheduler, by whose steps its runs are followed; set "
            "pipe.scheduler before it is attached."
        )
    _refuse_hooks(name, parts)


def _refuse_hooks(name: str, parts: dict[str, Any]) -> None:
    for component, part in parts.items():
        if not isinstance(part, nn.Module):
            continue
        hooks = (vars(module).get(HOOK) for module in part.modules())
        if any(not isinstance(hook, (NoneType, ExecutionDevice)) for hook in hooks):
            raise AttachError(
                f"accelerate looks after the weights of {component} in this {name}; call "
                "pipe.remove_all_hooks() first (after a device map pipe.reset_device_map()), and "
                "switch offloading on here."
            )
        names = {name for module in part.modules() for name in _hook_names(module)}
        if names & MOVING_HOOKS:
            raise AttachError(
                f"Hooks of diffusers ({', '.join(sorted(names & MOVING_HOOKS))}) look after the "
                f"weights of {component} in this {name}; load the pipeline without them, and "
                "switch offloading or layerwise casting on here."
            )


def _hook_names(module: nn.Module) -> Iterable[str]:
    """The names of the hooks of diffusers that are on at a module."""
    registry = vars(module).get("_diffusers_hook")
    return () if registry is None else vars(registry).get("hooks", {})
