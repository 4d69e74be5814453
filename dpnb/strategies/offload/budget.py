"""How many bytes of device memory weights take, and which of them may stay there."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from dpnb.strategies.offload.packing import ALIGNMENT, PackedWeights
from dpnb.strategies.offload.streamed_network import StreamedNetwork

RESIDENT_SHARE = 2 / 3
"""The part of a budget beyond the least that keeps blocks: more helps where the link is slower than
the device computes, less where it is quicker. Found by computing schedules of SD 1.5 and XL."""


def compute_memory_range(networks: Sequence[StreamedNetwork]) -> tuple[int, int]:
    """Bytes on the device: with which these networks can stream, and with which each can stay."""
    small = sum(network.small_tensors.nbytes for network in networks)
    sizes = [[weights.nbytes for weights in network.weights] for network in networks]
    least = max((compute_smallest_ring(one) for one in sizes), default=0)
    return small + least, small + max((sum(one) for one in sizes), default=0)


def compute_block_memory(networks: Sequence[StreamedNetwork], limit: int) -> int:
    """Bytes for the blocks of one network, where the small tensors of all are on the device.

    Args:
        networks: of which one at a time has the device.
        limit: bytes of weights on the device; where less than is needed, so much is taken.
    """
    least, _ = compute_memory_range(networks)
    return max(limit, least) - sum(network.small_tensors.nbytes for network in networks)


def divide_memory(order: list[PackedWeights], nbytes: int) -> tuple[frozenset[PackedWeights], int]:
    """Divide device memory between blocks that stay and a ring for the others.

    Of what there is beyond two blocks, a part keeps blocks and the rest lets the link run ahead.

    Args:
        order: the weights of a network's blocks.
        nbytes: of device memory.

    Returns:
        The weights that stay, and the bytes of the ring.
    """
    sizes = [weights.nbytes for weights in order]
    if sum(sizes) <= nbytes:
        return frozenset(order), 0
    beyond = max(nbytes - compute_smallest_ring(sizes), 0)
    residents = [order[index] for index in choose_residents(sizes, int(beyond * RESIDENT_SHARE))]
    ring_nbytes = nbytes - sum(weights.nbytes for weights in residents)
    return frozenset(residents), ring_nbytes // ALIGNMENT * ALIGNMENT


def compute_smallest_ring(sizes: Sequence[int]) -> int:
    """Bytes that hold any two blocks that follow one another."""
    if len(sizes) < 2:
        return sum(sizes)
    return max(one + other for one, other in pairwise(sizes))


def choose_residents(sizes: Sequence[int], nbytes: int) -> list[int]:
    """Which blocks stay in `nbytes`: the largest first, those of one size evenly spread.

    The larger a block, the fewer the positions that it computes as a rule, and the longer the
    device would wait for it.

    Returns:
        Their indices in `sizes`, ascending.
    """
    indices: dict[int, list[int]] = {}
    for index, size in enumerate(sizes):
        indices.setdefault(size, []).append(index)
    chosen: list[int] = []
    for size in sorted(indices, reverse=True):
        alike = indices[size]
        count = len(alike) if size == 0 else min(nbytes // size, len(alike))
        chosen += [alike[(2 * turn + 1) * len(alike) // (2 * count)] for turn in range(count)]
        nbytes -= count * size
    return sorted(chosen)
