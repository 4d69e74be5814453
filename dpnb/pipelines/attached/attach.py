"""Attaching: from the object that somebody has to the instrument on it."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from types import NoneType
from typing import Any

from torch import nn

from dpnb.pipelines.attached.attached_pipeline import AttachedPipeline
from dpnb.pipelines.attached.attached_run import AttachError
from dpnb.pipelines.attached.heard_class import original_class, studio_of
from dpnb.pipelines.attached.parts import explain_no_pipeline, find_parts, is_network
from dpnb.pipelines.attached.roles import Role, find_roles
from dpnb.pipelines.explorable import ExplorablePipeline
from dpnb.pipelines.pipeline import DiffusionPipeline
from dpnb.pipelines.text_to_image import TextToImagePipeline
from dpnb.strategies.execution_device import ATTRIBUTE as HOOK
from dpnb.strategies.execution_device import ExecutionDevice
from dpnb.switchboard import ATTRIBUTE

MODULAR = frozenset({"ModularPipeline", "ModularPipelineBlocks"})
"""Classes of diffusers from which pipelines of blocks, and blocks, are derived."""

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
        pipe: a loaded pipeline. Attached again, it has the same instrument; after `detach()`, and
            given what `attach` has returned, a new one.

    Raises:
        AttachError: it is no pipeline, or one whose runs or weights somebody else looks after.
    """
    if isinstance(pipe, AttachedPipeline):
        return attach(pipe.pipe) if pipe.is_detached else pipe
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
    if not MODULAR.isdisjoint(base.__name__ for base in type(pipe).__mro__):
        raise AttachError(
            f"{name} is a modular pipeline, whose blocks run in any order; attach an ordinary one "
            "over the same components, such as DiffusionPipeline.from_pretrained gives."
        )
    parts = find_parts(pipe) if "__dict__" in dir(pipe) else {}
    has_networks = not isinstance(pipe, nn.Module) and any(map(is_network, parts.values()))
    if not callable(pipe) or not has_networks:
        raise AttachError(explain_no_pipeline(pipe))
    if Role.SCHEDULER not in find_roles(parts).values():
        takes_one = "scheduler" in inspect.signature(original_class(pipe)).parameters
        remedy = "set pipe.scheduler before it is attached" if takes_one else "leave it as it is"
        raise AttachError(
            f"This {name} has no scheduler, by whose steps its runs are followed; {remedy}."
        )
    _refuse_hooks(name, parts)
    _refuse_missing_weights(name, parts)


def _refuse_hooks(name: str, parts: dict[str, Any]) -> None:
    for component, part in parts.items():
        if not isinstance(part, nn.Module):
            continue
        hooks = (vars(module).get(HOOK) for module in part.modules())
        if any(not isinstance(hook, (NoneType, ExecutionDevice)) for hook in hooks):
            remedy = (
                "pipe.remove_all_hooks() first (after a device map pipe.reset_device_map())"
                if HOOK in vars(part)
                else f"accelerate.hooks.remove_hook_from_module(pipe.{component}, True) first"
            )
            raise AttachError(
                f"accelerate looks after the weights of {component} in this {name}; call {remedy}, "
                "and switch offloading on here."
            )
        names = {name for module in part.modules() for name in _hook_names(module)}
        if names & MOVING_HOOKS:
            raise AttachError(
                f"Hooks of diffusers ({', '.join(sorted(names & MOVING_HOOKS))}) look after the "
                f"weights of {component} in this {name}; load the pipeline without them, and "
                "switch offloading or layerwise casting on here."
            )


def _refuse_missing_weights(name: str, parts: dict[str, Any]) -> None:
    """What is on at a network that another pipeline shares may keep its weights on the disk."""
    for component, part in parts.items():
        is_ours = not isinstance(part, nn.Module) or ATTRIBUTE in vars(part)
        if not is_ours and any(parameter.is_meta for parameter in part.parameters()):
            raise AttachError(
                f"Weights of {component} in this {name} are on the meta device, without values; "
                "load them first, as from_pretrained does."
            )


def _hook_names(module: nn.Module) -> Iterable[str]:
    """The names of the hooks of diffusers that are on at a module."""
    registry = vars(module).get("_diffusers_hook")
    return () if registry is None else vars(registry).get("hooks", {})
