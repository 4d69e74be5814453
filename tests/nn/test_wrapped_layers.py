from __future__ import annotations

from peft import LoraConfig, inject_adapter_in_model
from torch import nn

from dpnb.nn.wrapped_layers import plain_layer, plain_parameters, unwrap, unwrapped


def test_a_layer_around_another_changes_no_name() -> None:
    inner = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    network = nn.ModuleDict({"inner": inner})
    before, first = dict(network.named_parameters()), inner[0]
    config = LoraConfig(r=1, target_modules=["0"], init_lora_weights=False)
    inject_adapter_in_model(config, network)
    assert dict(plain_parameters(network)) == before
    assert len(dict(network.named_parameters())) == len(before) + 2
    wrapped = inner[0]
    assert wrapped is not first
    assert plain_layer(wrapped) is plain_layer(first) is first
    with unwrapped(network):
        assert inner[0] is first
    assert inner[0] is wrapped
    assert unwrap(network) == {"inner.0": wrapped}
    assert unwrap(network) == {}
