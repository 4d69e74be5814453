"""What depends on the prompt and the schedule alone, computed once in a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor, nn

from dpnb.models.unet import UNet2DConditionModel
from dpnb.nn.attention import Attention
from dpnb.nn.projections import Projection
from dpnb.nn.resnet import ResnetBlock
from dpnb.strategies.guests import Guests
from dpnb.strategies.host import Host, bound
from dpnb.strategies.strategy import Slot, Strategy
from dpnb.strategies.undo import RunWatcher, Undo

Key: TypeAlias = tuple[object, ...]

CONTEXTS = 2
"""In a step a network may be called with both prompts, and then with one of them alone."""


@dataclass(frozen=True, repr=False)
class ConditioningCache(Strategy):
    """Compute the prompt's keys and values and the time shifts once in a run, not in every step.

    The weights that make them wait on the host: an eighth to a seventh of Stable Diffusion XL's
    network.
    """

    slot: ClassVar = Slot.CONDITIONING
    relieves: ClassVar = frozenset({"denoising"})

    def obstacle(self, host: Host) -> str | None:
        """See the base class."""
        if next(host.modules_of(UNet2DConditionModel), None) is None:
            return "ConditioningCache needs a UNet; there is none here."
        return bound(ConditioningCache, host.networks("unet"))

    def apply(self, host: Host, undo: Undo) -> None:
        """Remember keys, values and time shifts of every UNet from step to step."""
        for unet in host.modules_of(UNet2DConditionModel):
            guests = Guests()
            undo.callback(guests.close)
            prompt, times = PromptMemory(guests), TimeMemory(unet, guests)
            for attention in (m for m in unet.modules() if isinstance(m, Attention)):
                if attention.looks_elsewhere:
                    guests.admit(_key_value_layers(attention))
                    projection = RememberedProjection(attention.projection, prompt)
                    undo.set(attention, "projection", projection)
            guests.admit(times.embedders)
            for block in times.blocks:
                guests.admit([block.time_emb_proj])
                undo.set(block, "time_shift", times.shift)
            undo.set(unet, "timing", times.embed)
            host.guests.append(guests)
            undo.callback(host.guests.remove, guests)
            undo.watch(prompt)
            undo.watch(times)


class PromptMemory(RunWatcher):
    """Keys and values of every cross-attention layer, for the contexts that they were made of."""

    def __init__(self, guests: Guests) -> None:
        self.guests = guests
        self.known: dict[Attention, dict[Key, tuple[Tensor, tuple[Tensor, Tensor]]]] = {}

    def recall(
        self, attention: Attention, context: Tensor, inner: Projection
    ) -> tuple[Tensor, Tensor]:
        """Key and value of `context`; computed where it is not among the last `CONTEXTS`."""
        key = identity(context)
        known = self.known.setdefault(attention, {})
        if key not in known:
            with self.guests.invited(_key_value_layers(attention), context.device):
                made = inner.key_value(attention, context)
            while len(known) >= CONTEXTS:
                del known[next(iter(known))]
            # The context is kept, so that no other can come to its address.
            known[key] = (context, made)
        return known[key][1]

    def end(self) -> None:
        """Forget everything."""
        self.known.clear()

    begin = end


@dataclass(frozen=True)
class RememberedProjection:
    """Keys and values from memory, queries from `inner`."""

    inner: Projection
    memory: PromptMemory

    def __call__(
        self, attention: Attention, tokens: Tensor, context: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value."""
        return attention.to_q(tokens), *self.key_value(attention, context)

    def key_value(self, attention: Attention, context: Tensor) -> tuple[Tensor, Tensor]:
        """Key and value."""
        if torch.is_grad_enabled():
            with self.memory.guests.invited(_key_value_layers(attention), context.device):
                return self.inner.key_value(attention, context)
        return self.memory.recall(attention, context, self.inner)


@dataclass(eq=False)
class TimeMemory(RunWatcher):
    """The time embedding of every step of a run, and what each residual block makes of it."""

    unet: UNet2DConditionModel
    guests: Guests
    timesteps: Tensor | None = None
    index: int | None = None
    key: Key | None = None
    times: list[Tensor] = field(default_factory=list)
    shifts: dict[ResnetBlock, list[Tensor]] = field(default_factory=dict)
    kept: list[Tensor] = field(default_factory=list)

    @property
    def blocks(self) -> list[ResnetBlock]:
        """The blocks that a time embedding shifts."""
        return [block for block in self.unet.modules() if isinstance(block, ResnetBlock)]

    @property
    def embedders(self) -> list[nn.Module]:
        """The layers that make a time embedding."""
        children = self.unet.named_children()
        return [child for name, child in children if name in ("time_embedding", "add_embedding")]

    def begin(self) -> None:
        """Forget everything."""
        self.timesteps = self.index = self.key = None
        self.times, self.kept = [], []
        self.shifts.clear()

    end = begin

    def scheduled(self, timesteps: Tensor) -> None:
        """Steps at these timesteps will come."""
        self.timesteps = timesteps

    def before_step(self, index: int, total: int) -> None:
        """The next call of the network belongs to step `index`."""
        self.index = index

    def embed(
        self,
        unet: UNet2DConditionModel,
        sample: Tensor,
        timestep: Tensor | float,
        condition: Tensor | None,
        added: Mapping[str, Tensor] | None,
    ) -> Tensor:
        """The embedding of the present step; outside a run, of `timestep`."""
        if self.timesteps is None or self.index is None or torch.is_grad_enabled():
            self.key = None
            return self._embed(sample, timestep, condition, added)
        inputs = [*([] if condition is None else [condition]), *(added or {}).values()]
        key = (*map(identity, inputs), sample.shape[0], sample.device)
        if key != self.key:
            self._prepare(sample, condition, added)
            self.key, self.kept = key, inputs
        return self.times[self.index]

    def shift(self, block: ResnetBlock, time: Tensor) -> Tensor:
        """The shift of the present step."""
        if self.key is not None and self.index is not None:
            return self.shifts[block][self.index]
        with self.guests.invited([block.time_emb_proj], time.device):
            return block.time_emb_proj(time)  # type: ignore[no-any-return]

    def _embed(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        condition: Tensor | None,
        added: Mapping[str, Tensor] | None,
    ) -> Tensor:
        with self.guests.invited(self.embedders, sample.device):
            return self.unet.embed_time(sample, timestep, condition, added)

    def _prepare(
        self, sample: Tensor, condition: Tensor | None, added: Mapping[str, Tensor] | None
    ) -> None:
        """Compute the embeddings of all steps, then all shifts, block by block."""
        assert self.timesteps is not None
        timesteps = self.timesteps.to(sample.device)
        self.times = [self._embed(sample, t, condition, added) for t in timesteps]
        self.shifts.clear()
        for block in self.blocks:
            with self.guests.invited([block.time_emb_proj], sample.device):
                self.shifts[block] = [block.time_emb_proj(time) for time in self.times]


def identity(tensor: Tensor) -> Key:
    """What tells a tensor from another, as long as it lives, and from itself once changed."""
    version = 0 if tensor.is_inference() else tensor._version
    return tensor.data_ptr(), tensor.device, *tensor.shape, *tensor.stride(), version


def _key_value_layers(attention: Attention) -> list[nn.Module]:
    names = [name for name, _ in attention.named_children() if name in ("to_k", "to_v", "to_kv")]
    return [attention.get_submodule(name) for name in names]
