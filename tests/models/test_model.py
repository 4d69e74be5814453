"""Loading and saving of networks by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import dpnb
from dpnb.errors import SettingsError
from tests.hub_server import HubServer
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


def test_weights_of_another_shape_are_a_mistake_of_settings(pipe: Any, tmp_path: Path) -> None:
    pipe.unet.save_pretrained(tmp_path)
    for kind in (SettingsError, ValueError, OSError):
        with pytest.raises(kind, match=r"conv_in\.weight has shape"):
            dpnb.UNet2DConditionModel.from_pretrained(tmp_path, in_channels=9)


def test_settings_that_nobody_knows_are_kept(pipe: Any, tmp_path: Path) -> None:
    pipe.unet.register_to_config(foo=5, sample_size=7)
    assert (pipe.unet.config["foo"], pipe.unet.config.sample_size) == (5, 7)
    assert pipe.unet.config.foo == 5
    with pytest.raises(AttributeError, match="there is no setting fooo"):
        _ = pipe.unet.config.fooo
    pipe.unet.save_pretrained(tmp_path)
    assert dpnb.UNet2DConditionModel.load_config(tmp_path)["foo"] == 5


def test_a_setting_is_read_as_an_attribute_with_a_warning(pipe: Any) -> None:
    with pytest.warns(FutureWarning, match=r"\.sample_size is a setting; read it as config\."):
        assert pipe.unet.sample_size == pipe.unet.config.sample_size
    with pytest.raises(AttributeError, match="has no attribute 'sample_sizes'"):
        _ = pipe.unet.sample_sizes


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
    with pytest.raises(ValueError, match="leave use_flashpack out"):
        pipe.vae.save_pretrained(tmp_path / "a", use_flashpack=True)


def test_a_network_is_uploaded(pipe: Any, hub: HubServer, tmp_path: Path) -> None:
    vae = pipe.vae
    vae.push_to_hub("someone/vae", token="any", subfolder="vae")
    vae.save_pretrained(tmp_path / "b", push_to_hub=True, repo_id="someone/other", token="any")
    for name, inner in (("someone/vae", "vae"), ("someone/other", None)):
        again = dpnb.AutoencoderKL.from_pretrained(
            name, subfolder=inner, cache_dir=tmp_path / "cache"
        )
        torch.testing.assert_close(again.state_dict(), vae.state_dict())
    found = dpnb.AutoencoderKL.load_config(
        "someone/other", True, True, cache_dir=tmp_path / "cache"
    )
    assert found[0]["_class_name"] == "AutoencoderKL"
    assert (found[1], len(found[2])) == ({}, 40)


def test_what_no_network_knows_is_ignored(
    pipe: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pipe.vae.save_pretrained(tmp_path)
    dpnb.AutoencoderKL.from_pretrained(tmp_path, max_memory=None, from_flax=None, foo=1)
    assert [record.getMessage() for record in caplog.records] == [
        "AutoencoderKL has no use for foo; ignored."
    ]
