"""Loaded pipelines, of dpnb or not, attached or not: what a planner reads of them."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from types import FunctionType, MethodType, NoneType
from typing import Any

import torch
from torch import Tensor, nn

from dpnb.nn.structure import Structure, TensorSpec
from dpnb.pipelines.attached.attached_pipeline import AttachedPipeline
from dpnb.pipelines.attached.heard_class import original_class, studio_of
from dpnb.pipelines.attached.parts import find_name, find_parts
from dpnb.pipelines.explorable import ExplorablePipeline
from dpnb.pipelines.pipeline import DiffusionPipeline
from dpnb.planning.valueless import ValuelessTensors
from dpnb.strategies.networks import first_device


def find_instrument(model: Any) -> Any:
    """What answers for a pipeline: itself, or what it is attached by; `None` where nothing does."""
    if isinstance(model, (DiffusionPipeline, AttachedPipeline)):
        return model
    return studio_of(model)


def is_loaded_pipeline(model: object) -> bool:
    """Whether it is a pipeline object: one that is called, and has networks."""
    if find_instrument(model) is not None:
        return True
    if isinstance(model, (type, nn.Module)) or not callable(model) or "__dict__" not in dir(model):
        return False
    return any(isinstance(part, nn.Module) for part in find_parts(model).values())


def parts_of(model: Any) -> Mapping[str, Any]:
    """Its components by name; none of what is no pipeline."""
    instrument = find_instrument(model)
    if instrument is not None:
        return instrument.parts()  # type: ignore[no-any-return]
    return find_parts(model) if is_loaded_pipeline(model) else {}


def name_of(model: Any) -> str:
    """What it was loaded from, or the name of its class."""
    instrument = find_instrument(model)
    own = None if instrument is None else instrument.name_or_path or instrument.class_name
    return own or find_source(model) or original_class(model).__name__


def find_source(model: Any) -> str | None:
    """What it was loaded from; `None` where that is not known."""
    instrument = find_instrument(model)
    if instrument is None:
        return find_name(model) if is_loaded_pipeline(model) else None
    found: str | None = instrument.name_or_path
    return found


def device_of(model: Any) -> torch.device:
    """Where its runs compute."""
    instrument = find_instrument(model)
    if instrument is not None:
        return instrument.execution_device  # type: ignore[no-any-return]
    places = [first_device(p) for p in parts_of(model).values() if isinstance(p, nn.Module)]
    return next((place for place in places if place.type != "cpu"), torch.device("cpu"))


def list_weights(pipe: ExplorablePipeline) -> tuple[tuple[str, int, Mapping[str, int]], ...]:
    """What each component is, as it is when nothing is switched on, to be compared.

    Args:
        pipe: a pipeline.

    Returns:
        Its name, the number of the object, and how many weights it has of each dtype.
    """
    found = []
    for name, part in pipe.parts().items():
        sizes: dict[str, int] = {}
        modules = pipe.strategies.structure_of(part) if isinstance(part, nn.Module) else None
        for attributes in () if modules is None else modules.attributes.values():
            for held in attributes["_parameters"].values():
                if isinstance(held, TensorSpec):
                    dtype = str(held.dtype)
                    sizes[dtype] = sizes.get(dtype, 0) + held.shape.numel()
        found.append((name, id(part), sizes))
    return tuple(found)


def weight_bytes_of(model: Any) -> int:
    """Bytes of its networks' parameters."""
    networks = [part for part in parts_of(model).values() if isinstance(part, nn.Module)]
    return sum(parameter.nbytes for network in networks for parameter in network.parameters())


SMALL = 64
"""So many numbers, at the most, are kept of a parameter: thresholds and scales are such."""


def copy_foreign(model: Any, valueless_mode: ValuelessTensors, dtype: torch.dtype | None) -> Any:
    """A pipeline of the class of `model`, valueless, not attached, with nothing switched on.

    It is made by its class out of copies of the networks; what is switched on at `model` stays on.

    Args:
        model: a pipeline that is not dpnb's, attached or not.
        valueless_mode: the mode in which the networks of the copy will run.
        dtype: of floating-point weights; each keeps its own by default.
    """
    pipe = model.pipe if isinstance(model, AttachedPipeline) else model
    kind, own = original_class(pipe), vars(pipe)
    studio = studio_of(pipe)
    settings = own.get("_internal_dict") or {}

    def copied(part: Any) -> Any:
        if isinstance(part, nn.Module):
            structure = Structure.of(part) if studio is None else _structure(studio, part)
            made = valueless_mode.discard_values(structure.copy(), dtype)
            keep_small_values(made, part)
            return made
        if isinstance(part, (list, tuple)):
            return type(part)(copied(one) for one in part)
        return copy.deepcopy(part) if "set_timesteps" in dir(type(part)) else part

    given: dict[str, Any] = {}
    for name in inspect.signature(kind).parameters:
        if name in own:
            given[name] = copied(own[name])
        elif name in settings:
            given[name] = settings[name]
    made = kind(**given)
    for name, value in own.items():
        if name in given or name == "_internal_dict":
            continue
        if is_state(value):
            vars(made)[name] = copy.deepcopy(value)
        elif isinstance(value, FunctionType):
            vars(made)[name] = value
        elif isinstance(value, MethodType) and value.__self__ is pipe:
            vars(made)[name] = MethodType(value.__func__, made)
    return made


def keep_small_values(made: nn.Module, part: nn.Module) -> None:
    """Give a copy of `part` the values of its smallest parameters, which its code may look at."""
    copies = dict(made.named_parameters())
    for name, parameter in part.named_parameters():
        twin = copies.get(name)
        is_small = parameter.numel() <= SMALL and not parameter.is_meta
        if is_small and twin is not None and twin.shape == parameter.shape:
            twin.data = parameter.detach().cpu().to(twin.dtype, copy=True)


def is_state(value: Any) -> bool:
    """Whether an attribute of a pipeline is a plain value that it was set to, or has computed."""
    if isinstance(value, (dict, list, tuple)):
        return all(map(is_state, value.values() if isinstance(value, dict) else value))
    return isinstance(value, (str, int, float, bool, NoneType, Tensor))


def _structure(studio: Any, part: nn.Module) -> Structure:
    structure: Structure = studio.strategies.structure_of(part)
    return structure
