"""What `set_adapters` may be given as weights: a number, or numbers by component and block."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, SupportsFloat, TypeAlias

import numpy as np
from torch import Tensor, nn

from dpnb.strategies.lora import Factors

logger = logging.getLogger(__name__)

Weights: TypeAlias = float | Mapping[str, Any] | None

_ATTENTION = re.compile(r"(down|up)_blocks\.(\d+)\.attentions\.(\d+)")


def factors_for(
    names: Sequence[str],
    weights: Weights | Sequence[Weights],
    components: Mapping[str, nn.Module | None],
) -> tuple[float | Factors, ...]:
    """A factor for each adapter, or factors for the parts that it changes.

    Args:
        names: of the adapters.
        weights: one for all or one for each: a number, or by component a number or what blocks
            get: `{"unet": {"down": 0.5, "up": {"block_1": [0, 1, 0.5]}}}`, where lists are for the
            attentions of a block. What is not named gets 1; a component that is not there is
            told in the log.
        components: of the pipeline, by name.

    Raises:
        ValueError: they are too few or too many, or name what is not there.
        TypeError: one is no number.
    """
    given: Any = weights.tolist() if isinstance(weights, (Tensor, np.ndarray)) else weights
    is_one = given is None or isinstance(given, (Mapping, str, SupportsFloat))
    each = [given] * len(names) if is_one else list(given)
    if len(each) != len(names):
        raise ValueError(
            f"adapter_weights are {len(each)} and adapter_names {len(names)}; give one for each."
        )
    return tuple(_factors(weight, components) for weight in each)


def _factors(weight: Any, components: Mapping[str, nn.Module | None]) -> float | Factors:
    if not isinstance(weight, Mapping):
        return _number(weight)
    if unknown := sorted(weight.keys() - components.keys()):
        logger.warning(
            "The following components in `adapter_weights` are not part of the pipeline: %s. "
            "Those that are: %s.",
            unknown,
            ", ".join(components),
        )
    found: list[tuple[str, float]] = []
    for component, value in weight.items():
        if component in unknown:
            continue
        network = components[component]
        if not isinstance(value, Mapping):
            found.append((component, _number(value)))
        elif network is not None:
            found += [(f"{component}.{part}", f) for part, f in _blocks(network, value)]
    return tuple(found) or 1.0


def _number(value: Any) -> float:
    if value is None:
        return 1.0
    if not isinstance(value, SupportsFloat):
        raise TypeError(f"adapter_weights holds {value!r}; use numbers.")
    if not math.isfinite(number := float(value)):
        raise ValueError(f"adapter_weights holds {number}; use finite numbers.")
    return number


def _blocks(network: nn.Module, weights: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Parts of a network by name, and their factors."""
    layers = [name for name, _ in network.named_modules()]
    counts: dict[tuple[str, int], int] = {}
    for match in filter(None, map(_ATTENTION.fullmatch, layers)):
        place = (match[1], int(match[2]))
        counts[place] = max(counts.get(place, 0), int(match[3]) + 1)
    for name, value in weights.items():
        if name in ("down", "up") and counts:
            yield from _side(name, value, {i: n for (side, i), n in counts.items() if side == name})
        elif name == "mid" and "mid_block.attentions.0" in layers:
            yield "mid_block.attentions.0", _each(value, 1, name)[0]
        elif name in layers:
            yield name, _number(value)
        else:
            choice = "down, mid and up, or the names of layers" if counts else "names of layers"
            raise ValueError(f"adapter_weights names {name!r}, which is not there; use {choice}.")


def _side(side: str, value: Any, counts: Mapping[int, int]) -> Iterator[tuple[str, float]]:
    """The blocks of one side of a UNet, by the number of their attentions."""
    by_block = value if isinstance(value, Mapping) else {f"block_{i}": value for i in counts}
    known = {f"block_{i}": i for i in counts}
    for name, given in by_block.items():
        if name not in known:
            raise ValueError(
                f"adapter_weights names {side}.{name}, which has no attention; use "
                f"{', '.join(known)}."
            )
        block = f"{side}_blocks.{known[name]}"
        factors = _each(given, counts[known[name]], f"{side}.{name}")
        yield f"{block}.{side}samplers.0", factors[0]
        for i, factor in enumerate(factors):
            yield f"{block}.attentions.{i}", factor
            yield f"{block}.resnets.{i}", factor


def _each(value: Any, count: int, name: str) -> list[float]:
    several = list(value) if isinstance(value, (list, tuple)) else [value] * count
    several = several * count if len(several) == 1 else several
    if len(several) != count:
        raise ValueError(
            f"adapter_weights has {len(several)} numbers for {name}, which has {count} attentions; "
            "give one number, or one for each."
        )
    return [_number(one) for one in several]
