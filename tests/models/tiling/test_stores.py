from __future__ import annotations

import gc

import pytest
import torch

from dpnb.models.tiling.stores import BLOCK, MOST_UNUSED, HostStore, block_size


@pytest.mark.parametrize(
    "strip",
    [64, 4096, BLOCK - 64, BLOCK, BLOCK + 64, 5 << 20, (8 << 20) + 64, 96 << 20, 1 << 28],
)
def test_what_is_pinned_at_once_is_a_power_of_two_that_strips_fill(strip: int) -> None:
    size = block_size(strip)
    assert size >= strip
    assert size & (size - 1) == 0
    assert size % strip <= MOST_UNUSED * size


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.uint8])
def test_strips_of_any_dtype_come_back_row_by_row(dtype: torch.dtype) -> None:
    store = HostStore()
    strips = [(torch.rand(2, 3, rows, 5) * 9).to(dtype) for rows in (1, 4, 7)]
    kept = [store.add(strip) for strip in strips]
    for strip, held in zip(strips, kept, strict=True):
        assert held.height == strip.shape[2]
        assert torch.equal(held.rows(0, held.height), strip)
        assert torch.equal(held.rows(held.height - 1, held.height), strip[:, :, -1:])


def test_bytes_are_counted_as_long_as_a_strip_waits() -> None:
    store = HostStore()
    strip = torch.zeros(1, 2, 3, 4)
    kept = [store.add(strip) for _ in range(3)]
    assert (store.current, store.peak) == (3 * strip.nbytes, 3 * strip.nbytes)
    del kept
    gc.collect()
    assert (store.current, store.peak) == (0, 3 * strip.nbytes)


def test_a_store_serves_within_inference_mode_and_after() -> None:
    store, strip = HostStore(), torch.ones(1, 2, 3, 4)
    with torch.inference_mode():
        first = store.add(strip)
    second = store.add(strip)
    assert torch.equal(first.rows(0, 3), second.rows(0, 3))


@pytest.mark.gpu
def test_pinned_strips_take_little_more_than_their_bytes() -> None:
    torch.cuda.synchronize()
    before = torch.cuda.host_memory_stats()["allocated_bytes.current"]
    store = HostStore()
    strips = [torch.rand(1, 5, 1 << 10, 1 << 10, device="cuda") for _ in range(12)]
    kept = [store.add(strip) for strip in strips]
    assert all(held.strip.is_pinned() for held in kept)
    pinned = torch.cuda.host_memory_stats()["allocated_bytes.current"] - before
    assert pinned <= 1.5 * store.current
    for strip, held in zip(strips, kept, strict=True):
        assert torch.equal(held.rows(0, held.height), strip)
