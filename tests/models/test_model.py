"""Loading and saving of networks by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import dpnb
from dpnb.errors import SettingsError
from tests.strategies.pipes import build


@pytest.fixture
def pipe() -> Any:
    return build("tiny-sd")


def test_settings_may_be_replaced_while_loading(pipe: Any, tmp_path: Path) -> None:
    pipe.unet.save_pretrained(tmp_path)
    wide = dpnb.UNet2DConditionModel.from_pretrained(
        tmp_path, in_channels=9, ignore_mismatched_sizes=True
    )
    assert wide.conv_in.weight.shape[1] == 9
    with pytest.raises(TypeError, match="no argument or setting in_chanels"):
        dpnb.UNet2DConditionModel.from_pretrained(tmp_path, in_chanels=9)


def test_weights_of_another_shape_are_a_mistake_of_settings(pipe: Any, tmp_path: Path) -> None:
    pipe.unet.save_pretrained(tmp_path)
    for kind in (SettingsError, ValueError, OSError):
        with pytest.raises(kind, match=r"conv_in\.weight has shape"):
            dpnb.UNet2DConditionModel.from_pretrained(tmp_path, in_channels=9)


def test_settings_that_nobody_knows_are_kept(pipe: Any, tmp_path: Path) -> None:
    pipe.unet.register_to_config(foo=5, sample_size=7)
    assert (pipe.unet.config["foo"], pipe.unet.config.sample_size) == (5, 7)
    assert (pipe.unet.config.foo, pipe.unet.foo) == (5, 5)
    with pytest.raises(AttributeError, match="there is no setting fooo"):
        _ = pipe.unet.config.fooo
    pipe.unet.save_pretrained(tmp_path)
    assert dpnb.UNet2DConditionModel.load_config(tmp_path)["foo"] == 5


@pytest.mark.parametrize("place", ["cpu", {"": "cpu"}, "auto", torch.device("cpu")])
def test_a_device_map_is_a_device(pipe: Any, place: Any, tmp_path: Path) -> None:
    pipe.vae.save_pretrained(tmp_path)
    vae = dpnb.AutoencoderKL.from_pretrained(tmp_path, device_map=place)
    assert vae.device.type in ("cpu", "cuda")
    assert vae.hf_device_map == {"": vae.device}
    with pytest.raises(ValueError, match="both say where weights go"):
        dpnb.AutoencoderKL.from_pretrained(tmp_path, device="cpu", device_map="cpu")
    with pytest.raises(ValueError, match="divides a network into encoder, decoder"):
        dpnb.AutoencoderKL.from_pretrained(tmp_path, device_map={"encoder": 0, "decoder": "cpu"})


def test_other_processes_write_nothing(pipe: Any, tmp_path: Path) -> None:
    pipe.vae.save_pretrained(tmp_path / "a", is_main_process=False)
    assert not (tmp_path / "a").exists()
    with pytest.raises(ValueError, match="by itself is not uploaded"):
        pipe.vae.save_pretrained(tmp_path / "a", push_to_hub=True)
