"""The switches of one network, over the strategies of the pipeline that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn
from typing_extensions import Self, override

from dpnb.errors import StrategyError
from dpnb.models.autoencoder import Autoencoder
from dpnb.nn.compiled import plain_network
from dpnb.strategies.adapter_set import AdapterSet
from dpnb.strategies.adapter_weights import factors_for
from dpnb.strategies.attention import AttentionSlicing, XFormers
from dpnb.strategies.attention_kernel import AttentionKernel
from dpnb.strategies.components import (
    attend_by,
    attend_by_torch,
    fuse_components,
    store_small,
    unfuse_components,
)
from dpnb.strategies.freeu import FreeU
from dpnb.strategies.stack import StrategyStack, stack_of
from dpnb.strategies.step_cache import UNETS, StepCache
from dpnb.strategies.vae import VaeSlicing, VaeTiling
from dpnb.switchboard import AdapterSwitches, SliceSize, Switchboard


@dataclass(frozen=True)
class NetworkAdapterSwitches(AdapterSwitches):
    """What a network's own methods do with adapters.

    Attributes:
        adapters: those of its component.
        network: the network.
    """

    adapters: AdapterSet
    network: nn.Module

    @override
    def name_for(self, name: str | None, *, in_place: bool) -> str:
        return self.adapters.name_for(name, in_place=in_place)

    @override
    def active(self) -> list[str]:
        return list(self.adapters.active)

    @override
    def load(self, name: str, changes: Mapping[str, Any], *, in_place: bool) -> None:
        take = self.adapters.swap if in_place else self.adapters.add
        take(name, {self._component: changes})

    @override
    def set(self, names: Sequence[str], weights: Any) -> None:
        each = weights if isinstance(weights, (list, tuple)) else [weights] * len(names)
        named = [{self._component: w} if isinstance(w, Mapping) else w for w in each]
        factors = factors_for(names, named, {self._component: self.network})
        self.adapters.set(dict(zip(names, factors, strict=True)))

    @override
    def delete(self, names: Sequence[str]) -> None:
        self.adapters.delete(names)

    @override
    def unload(self) -> None:
        self.adapters.unload()

    @override
    def switch_off(self) -> None:
        self.adapters.switch_off()

    @override
    def switch_on(self) -> None:
        self.adapters.switch_on(None)

    @override
    def fuse(self, names: Sequence[str] | None, scale: float, *, safely: bool) -> None:
        wanted = self.active() if names is None else names
        self.adapters.fuse(wanted, (self._component,), scale, safely=safely)

    @override
    def unfuse(self) -> None:
        self.adapters.unfuse()

    @property
    def _component(self) -> str:
        return self.adapters.only[0]


@dataclass(frozen=True)
class NetworkSwitchboard(Switchboard):
    """What a network's own methods switch on and off.

    Attributes:
        network: the network.
        component: what its pipeline calls it.
        stack: the strategies that it shares with the pipeline.
    """

    network: nn.Module
    component: str
    stack: StrategyStack

    @classmethod
    def of(cls, network: nn.Module, component: str) -> Self:
        """That of `network`, which is called `component` where no pipeline calls it otherwise."""
        stack = stack_of(network, component)
        names = (name for name, known in stack.networks.items() if known is network)
        return cls(network, next(names, component), stack)

    @property
    @override
    def adapters(self) -> NetworkAdapterSwitches:
        return NetworkAdapterSwitches(AdapterSet(self.stack, (self.component,)), self.network)

    @override
    def use_xformers(self, attention_op: str | None) -> None:
        attend_by(self.stack, self.component, XFormers(attention_op))

    @override
    def use_kernel(self, name: str) -> None:
        values = {"name": name}
        attend_by(self.stack, self.component, AttentionKernel.from_json(values))

    @override
    def use_torch_attention(self) -> None:
        attend_by_torch(self.stack, self.component)

    @override
    def slice_attention(self, slice_size: SliceSize | None) -> None:
        if slice_size is None:
            self.stack.disable(AttentionSlicing)
        else:
            self.stack.enable(AttentionSlicing(slice_size))

    @override
    def fuse_projections(self) -> None:
        fuse_components(self.stack, unet=not self._is_autoencoder, vae=self._is_autoencoder)

    @override
    def unfuse_projections(self) -> None:
        unfuse_components(self.stack, unet=not self._is_autoencoder, vae=self._is_autoencoder)

    @override
    def enable_freeu(self, s1: float, s2: float, b1: float, b2: float) -> None:
        self.stack.enable(FreeU(s1, s2, b1, b2))

    @override
    def disable_freeu(self) -> None:
        self.stack.disable(FreeU)

    @property
    @override
    def is_reusing(self) -> bool:
        found = self.stack.find(StepCache)
        return found is not None and found.acts_on(self.network)

    @override
    def reuse_blocks(self, threshold: float) -> None:
        if isinstance(plain_network(self.network), UNETS):
            raise StrategyError(
                f"{self.component} is a UNet, whose deep blocks are reused: call "
                "pipe.strategies.enable(dpnb.StepCache(interval=2))."
            )
        found = self.stack.find(StepCache) or StepCache(first=1, last=0)
        if not self._has_steps_to_reuse:
            raise StrategyError(
                f"{self.component} has no lists of blocks that its steps could leave out; call "
                "enable_cache of the transformer that denoises."
            )
        self.stack.enable(replace(found, threshold=threshold))

    @override
    def reuse_nothing(self) -> None:
        if self._has_steps_to_reuse:
            self.stack.disable(StepCache)

    @override
    def store_small(self, dtype: str) -> None:
        store_small(self.stack, self.component, dtype)

    @override
    def enable_tiling(self, tile: int | None, spill: bool, blended: bool) -> None:
        self.stack.enable(VaeTiling(tile, spill, blended))

    @override
    def disable_tiling(self) -> None:
        self.stack.disable(VaeTiling)

    @override
    def enable_slicing(self) -> None:
        self.stack.enable(VaeSlicing())

    @override
    def disable_slicing(self) -> None:
        self.stack.disable(VaeSlicing)

    @property
    def _has_steps_to_reuse(self) -> bool:
        return StepCache().acts_on(self.network)

    @property
    def _is_autoencoder(self) -> bool:
        return isinstance(self.network, Autoencoder)
