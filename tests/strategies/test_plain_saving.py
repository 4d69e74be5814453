"""Components of other packages write plain weights by their own method, whatever is on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import dpnb
from dpnb import LayerwiseCasting, SequentialOffload
from dpnb.strategies.strategy import Strategy
from tests.reference.checkpoints import pipeline

OFFLOAD = SequentialOffload(device="simulated:8GiB/s")


def saved(network: Any, folder: Path) -> dict[str, torch.Tensor]:
    """The weights that its method writes, and the text of its settings."""
    network.save_pretrained(folder)
    (file,) = folder.glob("*.safetensors")
    weights: dict[str, torch.Tensor] = load_file(file)
    return weights


@pytest.mark.parametrize("strategy", [LayerwiseCasting("bfloat16"), OFFLOAD], ids=repr)
@pytest.mark.parametrize("component", ["unet", "text_encoder"])
def test_a_component_is_saved_as_if_nothing_were_on(
    component: str, strategy: Strategy, tmp_path: Path
) -> None:
    pipe = pipeline("sd1")
    network = pipe.components[component]
    plain, own = saved(network, tmp_path / "plain"), dict(vars(network))
    strategies = dpnb.attach(pipe).strategies
    strategies.enable(strategy)
    switched = saved(network, tmp_path / "switched")
    assert strategies.active == {strategy}
    assert plain.keys() == switched.keys()
    assert all(torch.equal(switched[name], plain[name]) for name in plain)
    strategies.use([])
    assert vars(network).keys() - {"dpnb_attachment"} == own.keys() - {"dpnb_attachment"}


def test_a_method_of_the_owners_own_comes_back(tmp_path: Path) -> None:
    pipe = pipeline("sd1")
    calls: list[int] = []
    vars(pipe.unet)["save_pretrained"] = own = lambda folder: calls.append(1)
    with dpnb.attach(pipe).strategies.using(LayerwiseCasting()):
        pipe.unet.save_pretrained(tmp_path)
    assert calls == [1]
    assert vars(pipe.unet)["save_pretrained"] is own


def test_dpnbs_own_pipelines_save_their_text_encoders_so(tmp_path: Path) -> None:
    pipe: Any = dpnb.random_pipeline("tiny-sd")
    plain = saved(pipe.text_encoder, tmp_path / "plain")
    with pipe.strategies.using(OFFLOAD):
        switched = saved(pipe.text_encoder, tmp_path / "switched")
    assert all(torch.equal(switched[name], plain[name]) for name in plain)
