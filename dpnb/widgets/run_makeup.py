"""What decides a run beside what was asked for and switched on: weights, dtypes, guidance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import ref

import torch
from torch import nn
from typing_extensions import Self

from dpnb.pipelines.explorable import ExplorablePipeline
from dpnb.pipelines.text_to_image import TextToImagePipeline
from dpnb.strategies.strategy import Slot

CASTING = frozenset({Slot.PRECISION, Slot.STORAGE, Slot.WEIGHTS, Slot.QUANTIZATION})
"""Where strategies decide the dtype of weights."""

STEERING = frozenset({Slot.GUIDANCE, Slot.GUIDANCE_SPAN})


@dataclass(frozen=True)
class RunMakeup:
    """What a run was made with.

    Args:
        weights: by the network's name, whose they are, and how often they were changed.
        dtypes: likewise, of the networks; `None` where what is switched on decides that.
        guidance: the pipeline's; `None` likewise, and where it has none of its own.
    """

    weights: Mapping[str, tuple[ref[Any], int]]
    dtypes: Mapping[str, torch.dtype] | None
    guidance: Any

    @classmethod
    def of(cls, pipe: ExplorablePipeline) -> Self:
        """That of a run which `pipe` begins now."""
        networks = dict(pipe.strategies.networks.items())
        slots = {strategy.slot for strategy in pipe.strategies.active}
        own: Any = pipe if isinstance(pipe, TextToImagePipeline) and not slots & STEERING else None
        return cls(
            {name: _identify(network) for name, network in networks.items()},
            None if slots & CASTING else _list_dtypes(networks),
            None if own is None else own.guidance,
        )

    def list_differences(self, other: RunMakeup) -> list[str]:
        """In what it differs from that of another run, in words."""
        names = {*self.weights, *other.weights}
        changed = sorted(n for n in names if self.weights.get(n) != other.weights.get(n))
        words = [f"other weights in {', '.join(changed)}"] if changed else []
        if self.dtypes is not None and other.dtypes is not None:
            words += _compare_dtypes(self.dtypes, other.dtypes)
        if None not in (self.guidance, other.guidance) and self.guidance != other.guidance:
            words.append("another guidance")
        return words


def _identify(network: nn.Module) -> tuple[ref[Any], int]:
    """A mark of a network's weights that no strategy changes, and whoever trains or loads does."""
    first = next(network.parameters(), None)
    if first is None:
        return ref(network), 0
    return ref(first), 0 if first.is_inference() else first._version


def _list_dtypes(networks: Mapping[str, nn.Module]) -> dict[str, torch.dtype]:
    floats = {
        name: next((p.dtype for p in network.parameters() if p.is_floating_point()), None)
        for name, network in networks.items()
    }
    return {name: dtype for name, dtype in floats.items() if dtype is not None}


def _compare_dtypes(
    ours: Mapping[str, torch.dtype], theirs: Mapping[str, torch.dtype]
) -> list[str]:
    """For example "in bfloat16 instead of float32"; with names where not all have changed alike."""
    both = ours.keys() & theirs.keys()
    words = {
        name: f"in {_name(ours[name])} instead of {_name(theirs[name])}"
        for name in sorted(both)
        if ours[name] != theirs[name]
    }
    if len(words) == len(both) and len({*words.values()}) == 1:
        return [*words.values()][:1]
    return [f"{name} {said}" for name, said in words.items()]


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
