from __future__ import annotations

import threading

import torch
from torch import Tensor, nn

from dpnb.loading.weights.meta_init import assign_state, init_on_meta


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 5, bias=False), nn.Embedding(6, 2)
    )


def test_a_network_is_built_without_values_and_others_with_them() -> None:
    state = torch.random.get_rng_state()
    elsewhere: list[Tensor] = []
    with init_on_meta():
        empty = network()
        thread = threading.Thread(target=lambda: elsewhere.append(torch.ones(2)))
        thread.start()
        thread.join()
    assert all(tensor.is_meta for tensor in empty.state_dict().values())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert elsewhere[0].tolist() == [1.0, 1.0]
    assert not network()[0].weight.is_meta


def test_assigning_is_what_load_state_dict_does() -> None:
    full = network()
    state = {name: tensor for name, tensor in full.state_dict().items() if name != "2.weight"}
    with init_on_meta():
        ours, theirs = network(), network()
    for model in (ours, theirs):
        model[0].weight.requires_grad_(False)
    assign_state(ours, {**state, "stranger": torch.zeros(1)})
    theirs.load_state_dict(state, strict=False, assign=True)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for (name, mine), their in zip(
        ours.state_dict(keep_vars=True).items(),
        theirs.state_dict(keep_vars=True).values(),
        strict=True,
    ):
        assert type(mine) is type(their)
        assert mine.requires_grad == their.requires_grad
        assert mine.is_meta == their.is_meta == (name == "2.weight")
        assert mine.is_meta or mine.data_ptr() == state[name].data_ptr()
