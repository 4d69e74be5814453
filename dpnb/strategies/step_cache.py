"""Reuse between steps: what a denoising network computes alike in several steps, computed once."""

from __future__ import annotations

import inspect
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import nn
from typing_extensions import Self, override

from dpnb.models.flux import FluxTransformer2DModel
from dpnb.models.unet import UNet2DConditionModel
from dpnb.models.unet_2d import UNet2DModel
from dpnb.nn.compiled import plain_network
from dpnb.numbers import parse_number
from dpnb.strategies.networks import Networks, is_foreign
from dpnb.strategies.reuse.block_residuals import find_block_lists, reuse_block_residuals
from dpnb.strategies.reuse.branches import Branches, ReuseSpan
from dpnb.strategies.reuse.deep_features import list_step_kinds, reuse_deep_features
from dpnb.strategies.reuse.reuse_count import ReuseCount
from dpnb.strategies.settings import hints
from dpnb.strategies.strategy import Effect, Slot, Strategy
from dpnb.strategies.undo import Undo

UNETS = (UNet2DConditionModel, UNet2DModel)

MOMENTS = frozenset({"timestep", "timesteps", "t", "sigma", "timestep_ratio"})
"""What networks that denoise call the moment that they are given."""

STEERING = frozenset({"controlnet_cond", "control_context", "controls_latents"})
"""What is given to networks that steer another one, by what each of their blocks returns."""


@dataclass(frozen=True, repr=False)
class StepCache(Strategy):
    """Reuse what the denoising network has computed in the step before, where that changes little.

    Of a UNet the deep blocks are computed in every so many steps (Ma et al. 2023, DeepCache,
    arXiv:2312.00858). Of a transformer all blocks but the first are left out while what that adds
    is nearly what it was (First Block Cache). What is kept belongs to one run and, in it, to one
    prompt; calls of a network outside of a run are computed whole.

    Args:
        interval: of a UNet the deep blocks are computed in every so many steps; 1 reuses nothing.
        levels: of a UNet that are computed in every step, from the finest.
        threshold: of a transformer, how much of what its first block adds may have changed; 0
            reuses nothing.
        first: so many steps are computed whole at the beginning, at least one.
        last: likewise at the end.
    """

    interval: int = field(default=2, metadata=hints(low=1, high=6, step=1))
    levels: int = field(default=1, metadata=hints(low=1, high=3, step=1))
    threshold: float = field(default=0.1, metadata=hints(low=0, high=0.5, step=0.01))
    first: int = field(default=1, metadata=hints("first steps whole", low=1, high=10, step=1))
    last: int = field(default=1, metadata=hints("last steps whole", low=0, high=10, step=1))
    slot: ClassVar = Slot.REUSE
    presets: ClassVar = {"safe": "safe", "fast": "fast"}

    @classmethod
    def safe(cls) -> Self:
        """Little of the picture changes."""
        return cls(interval=2, threshold=0.05, first=3, last=3)

    @classmethod
    def fast(cls) -> Self:
        """As fast as pictures bear."""
        return cls(interval=3, threshold=0.2, first=1, last=4)

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("interval", 1), ("levels", 1), ("first", 1), ("last", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ValueError(f"{name} is {value!r}; it is a whole number, at least {least}.")
        parse_number("threshold", self.threshold, least=0)

    @property
    @override
    def effect(self) -> Effect:
        is_idle = self.interval == 1 and self.threshold == 0
        return Effect.EXACT if is_idle else Effect.APPROXIMATE

    @property
    @override
    def needs(self) -> tuple[type[object], ...]:
        return (*UNETS, FluxTransformer2DModel)

    @override
    def obstacle(self, networks: Networks) -> str | None:
        reusing = list(_reusing(networks))
        if not reusing and not networks.can_exchange(*self.needs):
            return _missing(networks)
        for name, network in reusing:
            if vars(plain_network(network)).get("_cache_config") is not None:
                return (
                    f"{name} has a cache of its own on; call its disable_cache(), and switch "
                    "StepCache on then."
                )
            if plain_network(network) is not network or network._compiled_call_impl is not None:
                return (
                    f"{name} is compiled as a whole, and StepCache leaves parts of it out; compile "
                    "its compile_repeated_blocks() in place of that, or leave StepCache out."
                )
        return None

    @override
    def step_kinds(self, networks: Networks, total: int) -> tuple[Hashable, ...] | None:
        if self.interval == 1 or not any(_is_unet(network) for _, network in _reusing(networks)):
            return None
        return list_step_kinds(ReuseSpan(self.first, self.last), self.interval, total)

    @override
    def saves_by_picture(self, networks: Networks) -> bool:
        reusing = _reusing(networks)
        return self.threshold > 0 and any(not _is_unet(network) for _, network in reusing)

    @override
    def apply(self, networks: Networks, undo: Undo) -> None:
        """Let every denoising network reuse what it has computed."""
        count = ReuseCount()
        undo.watch(count)
        undo.set(networks, "reuse_count", count)
        span = ReuseSpan(self.first, self.last)
        for _, network in _reusing(networks):
            if not self.acts_on(network):
                continue
            branches: Branches[Any] = Branches(network, span, count)
            if _is_unet(network):
                reuse_deep_features(network, branches, self.interval, self.levels, undo)
            else:
                reuse_block_residuals(network, branches, self.threshold, undo)

    def acts_on(self, network: nn.Module) -> bool:
        """Whether steps of this network may be left out in part."""
        plain = plain_network(network)
        is_idle = self.interval == 1 if _is_unet(plain) else self.threshold == 0
        return not is_idle and _count_parts(plain) > 1


def _reusing(networks: Networks) -> Iterator[tuple[str, nn.Module]]:
    """The networks that denoise, and are made of blocks that may be left out."""
    for name, network in networks.items():
        if _count_parts(plain_network(network)) > 1:
            yield name, network


def _count_parts(network: nn.Module) -> int:
    """Levels of a UNet, or blocks of a transformer that denoises; 0 of anything else."""
    if isinstance(network, UNETS):
        return len(network.up_blocks)
    is_own = isinstance(network, FluxTransformer2DModel)
    is_able = is_own or (is_foreign(network) and _denoises(network))
    return sum(map(len, find_block_lists(network))) if is_able else 0


def _is_unet(network: nn.Module) -> bool:
    return isinstance(network, UNETS)


def _denoises(network: nn.Module) -> bool:
    parameters = inspect.signature(type(network).forward).parameters
    return not MOMENTS.isdisjoint(parameters) and STEERING.isdisjoint(parameters)


def _missing(networks: Networks) -> str:
    needed = "StepCache needs a UNet of dpnb's with several levels, or a transformer that denoises"
    if not networks.has_foreign:
        return f"{needed}; there is none here."
    return (
        f"{needed} in lists of blocks; there is none here. Leave it out, or load the model as a "
        "pipeline of dpnb's where there is one."
    )
