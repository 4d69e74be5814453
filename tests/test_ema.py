"""Averages of parameters in training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import nn

import dpnb
from dpnb.ema import EMAModel

OPTIONS: list[dict[str, Any]] = [
    {},
    {"decay": 0.3},
    {"min_decay": 0.6, "update_after_step": 2},
    {"use_ema_warmup": True, "inv_gamma": 2.0, "power": 0.75},
    {"foreach": True},
]


def train(kind: Any, **options: Any) -> Any:
    """The averages of a network after some steps of which each changes it, one layer excepted."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    network[1].weight.requires_grad_(False)
    averages = kind(network.parameters(), **options)
    for _ in range(6):
        for parameter in network.parameters():
            parameter.data += torch.randn_like(parameter)
        averages.step(network.parameters())
    return averages


@pytest.mark.parametrize("options", OPTIONS)
def test_averages_are_those_of_diffusers(options: dict[str, Any]) -> None:
    ours, theirs = train(EMAModel, **options), train(diffusers.EMAModel, **options)
    torch.testing.assert_close(ours.shadow_params, theirs.shadow_params)
    assert ours.cur_decay_value == theirs.cur_decay_value
    state = ours.state_dict()
    assert state.keys() == theirs.state_dict().keys()


def test_averages_are_stored_as_a_network(tmp_path: Path) -> None:
    vae = dpnb.AutoencoderTiny(
        block_out_channels=(8,),
        encoder_block_out_channels=(8,),
        decoder_block_out_channels=(8,),
        num_encoder_blocks=(1,),
        num_decoder_blocks=(1,),
    )
    averages = EMAModel(vae.parameters(), 0.9, model_cls=type(vae), model_config=vae.config)
    averages.step(vae.parameters())
    averages.shadow_params[0] += 1
    averages.save_pretrained(tmp_path)
    again = EMAModel.from_pretrained(tmp_path, dpnb.AutoencoderTiny)
    torch.testing.assert_close(again.shadow_params, averages.shadow_params)
    assert (again.decay, again.optimization_step) == (0.9, 1)


def test_parameters_come_back_after_their_averages() -> None:
    network = nn.Linear(2, 2)
    averages, before = EMAModel(network.parameters()), network.weight.detach().clone()
    averages.to(dtype=torch.float64)
    network.weight.data += 1
    averages.store(network.parameters())
    averages.copy_to(network.parameters())
    torch.testing.assert_close(network.weight.data, before)
    averages.restore(network.parameters())
    torch.testing.assert_close(network.weight.data, before + 1)


def test_mistakes_are_sentences(tmp_path: Path) -> None:
    averages = EMAModel(nn.Linear(2, 2).parameters())
    with pytest.raises(ValueError, match="There are 1 parameters and averages of 2; give"):
        averages.step([torch.ones(2)])
    with pytest.raises(ValueError, match="does not know which network"):
        averages.save_pretrained(tmp_path)
    with pytest.raises(RuntimeError, match=r"call store\(parameters\) before copy_to"):
        averages.restore([])
    with pytest.raises(ValueError, match="decay"):
        averages.load_state_dict({"decay": 3.0})
    with pytest.raises(ValueError, match="shadow_params must be a list of tensors"):
        averages.load_state_dict({"shadow_params": 3})
