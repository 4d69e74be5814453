"""What depends on the prompt and the schedule alone, computed once in a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from typing_extensions import override

from dpnb.errors import UnknownValueError
from dpnb.models.time_conditioning import TimeConditionedModel
from dpnb.nn.attention import Attention
from dpnb.nn.attention_projections import Projection
from dpnb.nn.time_conditioning import TimeConditioned
from dpnb.run_listener import RunKey, RunListener
from dpnb.stages import Stage
from dpnb.strategies.networks import Networks, absence_obstacle, quantization_obstacle
from dpnb.strategies.offload.hosted_weights import HostedWeights
from dpnb.strategies.strategy import Slot, Strategy
from dpnb.strategies.undo import Undo

Key: TypeAlias = tuple[object, ...]

CONTEXTS = 2
"""In a step a network may be called with both prompts, and then with one of them alone."""


@dataclass(frozen=True, repr=False)
class ConditioningCache(Strategy):
    """Compute the prompt's keys and values and the time shifts once in a run, not in every step.

    The weights that make them wait on the host: an eighth to a seventh of Stable Diffusion XL's
    network, and more than a quarter of FLUX's.
    """

    slot: ClassVar = Slot.CONDITIONING
    relieves: ClassVar = frozenset({Stage.DENOISING})

    @property
    @override
    def needs(self) -> tuple[type[object], ...]:
        return (TimeConditionedModel,)

    @override
    def obstacle(self, networks: Networks) -> str | None:
        denoising = list(_denoising(networks))
        if not denoising and not networks.can_exchange(*self.needs):
            return absence_obstacle(
                "ConditioningCache", "a denoising network", networks, "there is none here"
            )
        return quantization_obstacle(ConditioningCache, denoising)

    @override
    def apply(self, networks: Networks, undo: Undo) -> None:
        """Cache keys, values and time shifts of every denoising network from step to step."""
        for _, network in _denoising(networks):
            hosted = HostedWeights()
            undo.callback(hosted.close)
            prompt, times = PromptCache(hosted), TimeCache(network, hosted)
            for attention in (m for m in network.modules() if isinstance(m, Attention)):
                if attention.is_cross_attention:
                    hosted.move_to_host(_key_value_layers(attention))
                    projection = CachedProjection(attention.projection, prompt)
                    undo.set(attention, "projection", projection)
            hosted.move_to_host(times.embedders)
            for layer in times.layers:
                hosted.move_to_host([layer.time_layer])
                undo.set(layer, "time_projection", times.shift)
            undo.set(network, "time_embedder", times.embed)
            undo.set(networks, "hosted", (*networks.hosted, hosted))
            undo.watch(prompt)
            undo.watch(times)


class PromptCache(RunListener[RunKey]):
    """Keys and values of every cross-attention layer, for the contexts that they were made of."""

    def __init__(self, hosted: HostedWeights) -> None:
        self.hosted = hosted
        self.known: dict[Attention, dict[Key, tuple[Tensor, tuple[Tensor, Tensor]]]] = {}

    def key_value(
        self, attention: Attention, context: Tensor, inner: Projection
    ) -> tuple[Tensor, Tensor]:
        """Key and value of `context`; computed where it is not among the last `CONTEXTS`."""
        key = identity(context)
        known = self.known.setdefault(attention, {})
        if key not in known:
            with self.hosted.on_device(_key_value_layers(attention), context.device):
                made = inner.project_key_value(attention, context)
            while len(known) >= CONTEXTS:
                del known[next(iter(known))]
            # The context is kept, so that no other can come to its address.
            known[key] = (context, made)
        return known[key][1]

    @override
    def begin_run(self, run: RunKey) -> None:
        """Empty the cache."""
        self.known.clear()

    @override
    def end_run(self, run: RunKey, error: BaseException | None) -> None:
        """Empty the cache."""
        self.known.clear()


@dataclass(frozen=True)
class CachedProjection:
    """Keys and values from the cache, queries from `inner`."""

    inner: Projection
    cache: PromptCache

    def __call__(
        self, attention: Attention, tokens: Tensor, context: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value."""
        return attention.to_q(tokens), *self.project_key_value(attention, context)

    def project_key_value(self, attention: Attention, context: Tensor) -> tuple[Tensor, Tensor]:
        """Key and value."""
        if torch.is_grad_enabled():
            with self.cache.hosted.on_device(_key_value_layers(attention), context.device):
                return self.inner.project_key_value(attention, context)
        return self.cache.key_value(attention, context, self.inner)


@dataclass(frozen=True, eq=False)
class TimeEmbeddings:
    """The embeddings of all steps, and what each layer makes of them.

    Attributes:
        conditions: what they were made of, kept so that no other can come to its address.
        times: of each step.
        shifts: likewise, by layer.
    """

    conditions: list[Tensor]
    times: list[Tensor]
    shifts: dict[TimeConditioned, list[Tensor]]


KEPT_EMBEDDINGS = 2
"""So many are kept: a network may see the latents with one prompt and then with another."""


@dataclass(eq=False)
class TimeCache(RunListener[RunKey]):
    """The time embedding of every step of a run, and what each layer makes of it."""

    network: nn.Module
    hosted: HostedWeights
    timesteps: Tensor | None = None
    index: int | None = None
    present: TimeEmbeddings | None = None
    known: dict[Key, TimeEmbeddings] = field(default_factory=dict)

    @property
    def layers(self) -> list[TimeConditioned]:
        """The layers that a time embedding acts on."""
        return [layer for layer in self.network.modules() if isinstance(layer, TimeConditioned)]

    @property
    def embedders(self) -> list[nn.Module]:
        """The layers that make a time embedding."""
        return self._conditioned.embedding_layers

    @property
    def _conditioned(self) -> TimeConditionedModel:
        assert isinstance(self.network, TimeConditionedModel)
        return self.network

    @override
    def begin_run(self, run: RunKey) -> None:
        """Empty the cache."""
        self.timesteps = self.index = self.present = None
        self.known.clear()

    @override
    def end_run(self, run: RunKey, error: BaseException | None) -> None:
        """Empty the cache."""
        self.begin_run(run)

    @override
    def set_timesteps(self, run: RunKey, timesteps: Tensor) -> None:
        """Steps at these timesteps will come."""
        self.timesteps = timesteps

    @override
    def before_step(self, run: RunKey, index: int, total: int) -> None:
        """The next call of the network belongs to step `index`."""
        self.index = index

    def embed(
        self, network: nn.Module, sample: Tensor, timestep: Tensor | float, *conditions: object
    ) -> Tensor:
        """The embedding of the present step; outside a run, of `timestep`."""
        if self.timesteps is None or self.index is None or torch.is_grad_enabled():
            self.present = None
            return self._embed(sample, timestep, *conditions)
        inputs = [leaf for leaf in tree_leaves(conditions) if isinstance(leaf, Tensor)]
        key = (*map(identity, inputs), sample.shape[0], sample.device)
        self.present = self.known.get(key)
        if self.present is None:
            while len(self.known) >= KEPT_EMBEDDINGS:
                del self.known[next(iter(self.known))]
            self.present = self.known[key] = self._prepare(sample, inputs, *conditions)
        return self.present.times[self.index]

    def shift(self, layer: TimeConditioned, time: Tensor) -> Tensor:
        """What acts on a layer in the present step."""
        if self.present is not None and self.index is not None:
            return self.present.shifts[layer][self.index]
        with self.hosted.on_device([layer.time_layer], time.device):
            return layer.time_layer(time)  # type: ignore[no-any-return]

    def _embed(self, sample: Tensor, timestep: Tensor | float, *conditions: object) -> Tensor:
        with self.hosted.on_device(self.embedders, sample.device):
            return self._conditioned.embed_time(sample, timestep, *conditions)

    def _prepare(self, sample: Tensor, inputs: list[Tensor], *conditions: object) -> TimeEmbeddings:
        """Compute the embeddings of all steps, then all shifts, layer by layer."""
        assert self.timesteps is not None
        timesteps = self.timesteps.to(sample.device)
        times = [self._embed(sample, t, *conditions) for t in timesteps]
        shifts: dict[TimeConditioned, list[Tensor]] = {}
        for layer in self.layers:
            with self.hosted.on_device([layer.time_layer], sample.device):
                shifts[layer] = [layer.time_layer(time) for time in times]
        return TimeEmbeddings(inputs, times, shifts)


def _denoising(networks: Networks) -> Iterator[tuple[str, nn.Module]]:
    return (pair for pair in networks.items() if isinstance(pair[1], TimeConditionedModel))


class _Values:
    """The values of a tensor at a time, for one that does not count its changes."""

    def __init__(self, tensor: Tensor) -> None:
        self._values = tensor.clone()

    @override
    def __eq__(self, other: object) -> bool:
        try:
            return isinstance(other, _Values) and torch.equal(self._values, other._values)
        except UnknownValueError:
            return True  # what is not computed is told apart by its address

    @override
    def __hash__(self) -> int:
        return 0


def identity(tensor: Tensor) -> Key:
    """What tells a tensor from another, as long as it lives, and from itself once changed."""
    version = _Values(tensor) if tensor.is_inference() else tensor._version
    return tensor.data_ptr(), tensor.device, *tensor.shape, *tensor.stride(), version


def _key_value_layers(attention: Attention) -> list[nn.Module]:
    names = [name for name, _ in attention.named_children() if name in ("to_k", "to_v", "to_kv")]
    return [attention.get_submodule(name) for name in names]
