"""What the components of a pipeline do in a run, told by what they are and not by their model."""

from __future__ import annotations

import inspect
from collections.abc import Hashable, Iterable, Mapping
from enum import Enum
from functools import cache
from typing import Any, cast

from torch import nn


class Role(Enum):
    """What a component does in a run."""

    TEXT_ENCODER = "reads words"
    IMAGE_ENCODER = "looks at pictures"
    DENOISER = "takes part in every denoising step"
    CODER = "turns pictures, videos or sound into latents, and back"
    SCHEDULER = "leads through the denoising steps"
    OTHER = "anything else"


RUN_ORDER = (Role.TEXT_ENCODER, Role.IMAGE_ENCODER, Role.OTHER, Role.DENOISER, Role.CODER)
"""Networks in the order in which a run uses them, where the pipeline does not say."""

TIMES = frozenset({"timestep", "timesteps", "timestep_ratio", "t", "r", "sigma"})
"""What denoising networks call the time that they are given."""


def find_roles(parts: Mapping[str, Any]) -> dict[str, Role]:
    """The role of every component that is there, by its name.

    Where no network is told the time, those that neither encode nor decode denoise.
    """
    roles = {name: _role_of(part) for name, part in parts.items() if part is not None}
    if Role.DENOISER not in roles.values():
        for name, role in roles.items():
            if role is Role.OTHER and isinstance(parts[name], nn.Module):
                roles[name] = Role.DENOISER
    return roles


def find_schedulers(parts: Mapping[str, Any]) -> list[Any]:
    """The components that lead through denoising steps."""
    return [parts[name] for name, role in find_roles(parts).items() if role is Role.SCHEDULER]


def order_of_use(parts: Mapping[str, Any], roles: Mapping[str, Role]) -> list[str]:
    """The names of the networks in the order in which runs usually use them."""
    networks = [name for name, part in parts.items() if isinstance(part, nn.Module)]
    networks.sort(key=lambda name: RUN_ORDER.index(roles[name]))
    return list(dict.fromkeys(name.partition("[")[0] for name in networks))


def _role_of(part: Any) -> Role:
    if not isinstance(part, nn.Module):
        return Role.SCHEDULER if is_scheduler(part) else Role.OTHER
    if any("decode" in vars(base) for base in type(part).__mro__):
        return Role.CODER
    if any(base.__name__ == "PreTrainedModel" for base in type(part).__mro__):
        return Role.IMAGE_ENCODER if "pixel" in _main_input(part) else Role.TEXT_ENCODER
    takes_time = any(_takes_time(cast(Hashable, type(one))) for one in _entrances(part))
    return Role.DENOISER if takes_time else Role.OTHER


def is_scheduler(part: Any) -> bool:
    """Whether an object leads through denoising steps."""
    return _leads_through_steps(cast(Hashable, type(part)))


@cache
def _leads_through_steps(kind: type) -> bool:
    return "set_timesteps" in dir(kind) and bool(_step_methods_of(kind))


def step_methods(scheduler: Any) -> tuple[str, ...]:
    """The names of a scheduler's methods that make a step: `step`, with some `step_pred`."""
    return _step_methods_of(cast(Hashable, type(scheduler)))


@cache
def _step_methods_of(kind: type) -> tuple[str, ...]:
    return tuple(name for name in dir(kind) if name == "step" or name.startswith("step_"))


def _entrances(part: nn.Module) -> Iterable[nn.Module]:
    """A network, and what `torch.compile` has hidden in it."""
    inner = part._modules.get("_orig_mod")
    return (part,) if inner is None else (part, inner)


@cache
def _takes_time(kind: Any) -> bool:
    """Whether networks of a class are told the time."""
    return not TIMES.isdisjoint(inspect.signature(kind.forward).parameters)


def _main_input(part: nn.Module) -> str:
    """What an encoder of transformers says that it is given first."""
    said = (vars(base).get("main_input_name") for base in type(part).__mro__)
    return next((name for name in said if isinstance(name, str)), "")
