"""Random numbers, drawn where their generator lives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from dpnb.numbers import parse_int

Generators: TypeAlias = "torch.Generator | list[torch.Generator] | None"

LEAST_SEED, MOST_SEED = -(2**63), 2**64 - 1


def randn(
    shape: Sequence[int],
    *,
    generator: Generators = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Standard normal numbers on `device`.

    A generator of the CPU draws there and the numbers travel, so that one seed gives one picture on
    every device; to a GPU they come from pinned memory, and nothing waits for them. A list holds
    one generator for each entry of the batch, or one for all.

    Args:
        shape: of the result, batch first.
        generator: one for all, or one for each entry; `None` uses torch's own.
        device: where the numbers are wanted; the CPU by default.
        dtype: of the numbers; torch's default if `None`.

    Raises:
        ValueError: a generator lives on another device than the CPU or `device`, or the list is
            not as long as the batch.
    """
    target = torch.device("cpu" if device is None else device)
    generators = generator if isinstance(generator, list) else [generator]
    if len(generators) == 1:
        return _draw(shape, generators[0], target, dtype)
    check_count(generators, shape[0])
    return torch.cat([_draw((1, *shape[1:]), one, target, dtype) for one in generators])


def make_generator(seed: int) -> torch.Generator:
    """A generator of the CPU that begins with this seed.

    Raises:
        ValueError: it is no whole number, or one of more than 64 bits.
        TypeError: it is no number.
    """
    return torch.Generator().manual_seed(parse_int("seed", seed, LEAST_SEED, MOST_SEED))


def check_count(generators: Sequence[object], batch: int) -> None:
    """Refuse a list of generators that does not match the batch."""
    if len(generators) != batch:
        raise ValueError(
            f"generator is a list of {len(generators)}, but the batch holds {batch} pictures; give "
            "one generator for each picture, or a single generator for all."
        )


def check_device(generator: Generators, device: torch.device) -> None:
    """Refuse generators that can draw neither on `device` nor on the CPU.

    Raises:
        TypeError: one is no generator.
        ValueError: it is on another device.
    """
    for one in generator if isinstance(generator, list) else [generator]:
        if one is not None and not isinstance(one, torch.Generator):
            raise TypeError(
                f"generator is {one!r}; make one with torch.Generator().manual_seed(0), where 0 is "
                "the seed, or give a list with one for each picture."
            )
        if one is not None and one.device.type not in ("cpu", device.type):
            raise ValueError(
                f"the generator lives on {one.device}, but the numbers are needed on {device}; "
                f'make it with torch.Generator("cpu") or torch.Generator("{device}").'
            )


def _draw(
    shape: Sequence[int],
    generator: torch.Generator | None,
    target: torch.device,
    dtype: torch.dtype | None,
) -> Tensor:
    check_device(generator, target)
    source = target if generator is None else generator.device
    travels = source.type == "cpu" and target.type == "cuda"
    if travels and torch.cuda.is_available():
        # Torch's fake tensors can be made in pinned memory, but not drawn there.
        room = torch.empty(tuple(shape), dtype=dtype, pin_memory=True)
        drawn = room.normal_(generator=generator)
    else:
        drawn = torch.randn(tuple(shape), generator=generator, device=source, dtype=dtype)
    return drawn.to(target, non_blocking=travels)
