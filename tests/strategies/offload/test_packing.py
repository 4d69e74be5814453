from __future__ import annotations

import torch
from torch import nn

from dpnb.strategies.offload.blocks import group_tied_tensors
from dpnb.strategies.offload.packing import ALIGNMENT, PackedWeights, allocate_host_memory


def sample() -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [
        nn.Parameter(torch.randn(7, 3)),
        nn.Parameter(torch.randn(4, 8, 3, 3).contiguous(memory_format=torch.channels_last)),
        nn.Parameter(torch.randn(5).half(), requires_grad=False),
        torch.arange(9),
        nn.Parameter(torch.randn(6, 4).t()),
    ]


def test_packing_keeps_values_objects_and_strides() -> None:
    tensors = sample()
    before = [(t.detach().clone(), t.stride()) for t in tensors]
    pack = PackedWeights("x", group_tied_tensors(tensors))
    pack.pack()
    assert pack.memory.numel() == pack.nbytes
    assert pack.nbytes % ALIGNMENT == 0
    start = pack.memory.data_ptr()
    assert all((t.data_ptr() - start) % ALIGNMENT == 0 for t in tensors)
    assert all(torch.equal(t, v) and t.stride() == s for t, (v, s) in zip(tensors, before))  # noqa: B905
    pack.unpack()
    assert all(torch.equal(t, v) and t.stride() == s for t, (v, s) in zip(tensors, before))  # noqa: B905
    assert all(t.untyped_storage().nbytes() == t.nbytes for t in tensors)


def test_host_memory_is_of_exactly_its_size_and_shares_no_page() -> None:
    memory = allocate_host_memory(10_001)
    assert memory.numel() == memory.untyped_storage().nbytes() == 10_001
    assert memory.data_ptr() % 4096 == 0


def test_weights_are_lent_and_recalled() -> None:
    tensors = sample()
    pack = PackedWeights("x", group_tied_tensors(tensors))
    pack.pack()
    memory = torch.empty(pack.nbytes + ALIGNMENT, dtype=torch.uint8)
    memory[ALIGNMENT:].copy_(pack.memory)
    values = [t.detach().clone() for t in tensors]
    pack.point_to_device(pack.make_views(memory, ALIGNMENT))
    end = memory.data_ptr() + memory.numel()
    assert all(memory.data_ptr() <= t.data_ptr() < end for t in tensors)
    assert all(torch.equal(t, v) for t, v in zip(tensors, values, strict=True))
    replaced = torch.zeros(7, 3)
    tensors[0].data = replaced
    pack.point_to_host()
    assert tensors[0].data_ptr() == replaced.data_ptr()
    assert all(pack.memory.data_ptr() <= t.data_ptr() for t in tensors[1:])
    assert pack.adopt_changes()
    assert torch.equal(tensors[0], replaced)
    assert tensors[0].data_ptr() == pack.memory.data_ptr()


def test_a_change_in_place_reaches_the_packed_memory() -> None:
    tensors = sample()
    pack = PackedWeights("x", group_tied_tensors(tensors))
    pack.pack()
    tensors[0].data.fill_(2.0)
    with torch.no_grad():
        tensors[2].copy_(torch.ones(5))
    assert pack.memory[: 7 * 3 * 4].view(torch.float32).tolist() == [2.0] * 21
    pack.unpack()
    assert tensors[0].unique().tolist() == [2.0]
    assert tensors[2].unique().tolist() == [1.0]


def test_tied_tensors_are_packed_once_and_stay_tied() -> None:
    one = nn.Parameter(torch.randn(100))
    other = nn.Parameter(one.detach())
    pack = PackedWeights("x", group_tied_tensors([one, other]))
    pack.pack()
    assert pack.nbytes == ALIGNMENT
    other.data.fill_(3.0)
    assert one.unique().tolist() == [3.0]
    pack.unpack()
    assert one.data_ptr() == other.data_ptr()


def test_what_cannot_be_taken_over_is_said() -> None:
    one = nn.Parameter(torch.randn(100))
    other = nn.Parameter(torch.randn(100))
    tie = nn.Parameter(other.detach())
    pack = PackedWeights("x", group_tied_tensors([one, other, tie]))
    pack.pack()
    assert pack.adopt_changes()
    one.data = one.data.half()
    assert not pack.adopt_changes()
    one.data = torch.zeros(100)
    assert pack.adopt_changes()
    other.data = torch.zeros(100)
    assert not pack.adopt_changes()
