"""What networks tell of themselves, and what may be asked of them in training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import dpnb
from dpnb.models.attention_processor import (
    AttnProcessor,
    AttnProcessor2_0,
    XFormersAttnProcessor,
)
from dpnb.models.model import Model
from dpnb.nn.attention_kernels import XFormersKernel
from tests.strategies.pipes import build


@pytest.fixture
def pipe() -> Any:
    return build("tiny-sd")


def test_numbers_are_counted(pipe: Any) -> None:
    unet = pipe.unet
    count = sum(p.numel() for p in unet.parameters())
    assert unet.num_parameters() == count
    unet.requires_grad_(False)
    unet.conv_in.requires_grad_(True)
    assert unet.num_parameters(only_trainable=True) == unet.conv_in.weight.numel() + 16
    assert unet.get_memory_footprint() == 4 * count == unet.nbytes
    table = Table()
    assert table.num_parameters(exclude_embeddings=True) == 3
    assert table.get_memory_footprint(return_buffers=False) == 4 * 11
    assert table.get_memory_footprint() == 4 * 13


class Table(Model):
    """A network with a table and a buffer."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.table = nn.Embedding(4, 2)
        self.layer = nn.Linear(2, 1)
        self.register_buffer("steps", torch.zeros(2))


def test_a_step_of_training_keeps_less(pipe: Any) -> None:
    unet = pipe.unet.train().requires_grad_(True)
    weights = {p.untyped_storage().data_ptr() for p in unet.parameters()}
    kept: list[int] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept[-1] += tensor.nbytes * (tensor.untyped_storage().data_ptr() not in weights)
        return tensor

    for enable in (unet.disable_gradient_checkpointing, unet.enable_gradient_checkpointing):
        enable()
        kept.append(0)
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            unet(torch.ones(1, 4, 32, 32), 3, torch.ones(1, 7, 32))
    assert kept[1] < 0.5 * kept[0]
    unet.disable_gradient_checkpointing()
    assert not unet.is_gradient_checkpointing
    assert not [m for m in unet.modules() if "is_checkpointed" in vars(m)]
    with pytest.raises(ValueError, match=r"torch.utils.checkpoint.checkpoint here; leave it out"):
        unet.enable_gradient_checkpointing(torch.utils.checkpoint.checkpoint)


def test_a_processor_is_the_name_of_a_kernel(pipe: Any) -> None:
    unet = pipe.unet
    assert {*unet.attn_processors.values()} == {AttnProcessor2_0()}
    assert all(
        isinstance(unet.get_submodule(n.rpartition(".")[0]), nn.Module)
        for n in unet.attn_processors
    )
    unet.mid_block.attentions[0].transformer_blocks[0].attn1.kernel = XFormersKernel("cutlass")
    assert XFormersAttnProcessor("cutlass") in unet.attn_processors.values()
    unet.set_attn_processor(AttnProcessor())
    with pytest.raises(TypeError, match=r"object is code .* attach a pipeline that has it"):
        unet.set_attn_processor(object())
    with pytest.raises(ValueError, match="all compute alike"):
        unet.set_attn_processor({"a": AttnProcessor(), "b": XFormersAttnProcessor()})
    with pytest.raises(ValueError, match=r'backend is \'flash\'; use "native"'):
        unet.set_attention_backend("flash")


def test_a_network_without_many_blocks_is_compiled_as_a_whole(pipe: Any) -> None:
    with pytest.raises(ValueError, match="AutoencoderKL has no block of which there are many"):
        pipe.vae.compile_repeated_blocks()


@pytest.mark.parametrize("call", ["load_lora_adapter", "save_lora_adapter"])
def test_adapters_are_the_pipelines(pipe: Any, call: str) -> None:
    with pytest.raises(NotImplementedError, match=r"load_lora_weights\(...\), and train with peft"):
        getattr(pipe.unet, call)("a")


def test_there_is_no_cache(pipe: Any) -> None:
    with pytest.raises(NotImplementedError, match="leave the cache out"):
        pipe.transformer = pipe.unet.enable_cache(None)
    pipe.unet.disable_cache()
    assert not pipe.unet.is_cache_enabled


def test_settings_may_be_replaced_while_loading(pipe: Any, tmp_path: Path) -> None:
    pipe.unet.save_pretrained(tmp_path)
    wide = dpnb.UNet2DConditionModel.from_pretrained(
        tmp_path, in_channels=9, ignore_mismatched_sizes=True
    )
    assert wide.conv_in.weight.shape[1] == 9
    with pytest.raises(TypeError, match="no argument or setting in_chanels"):
        dpnb.UNet2DConditionModel.from_pretrained(tmp_path, in_chanels=9)


@pytest.mark.parametrize("place", ["cpu", {"": "cpu"}, "auto", torch.device("cpu")])
def test_a_device_map_is_a_device(pipe: Any, place: Any, tmp_path: Path) -> None:
    pipe.vae.save_pretrained(tmp_path)
    vae = dpnb.AutoencoderKL.from_pretrained(tmp_path, device_map=place)
    assert vae.device.type in ("cpu", "cuda")
    with pytest.raises(ValueError, match="both say where weights go"):
        dpnb.AutoencoderKL.from_pretrained(tmp_path, device="cpu", device_map="cpu")
    with pytest.raises(ValueError, match="divides a network into encoder, decoder"):
        dpnb.AutoencoderKL.from_pretrained(tmp_path, device_map={"encoder": 0, "decoder": "cpu"})


def test_other_processes_write_nothing(pipe: Any, tmp_path: Path) -> None:
    pipe.vae.save_pretrained(tmp_path / "a", is_main_process=False)
    assert not (tmp_path / "a").exists()
    with pytest.raises(ValueError, match="by itself is not uploaded"):
        pipe.vae.save_pretrained(tmp_path / "a", push_to_hub=True)


def test_what_a_unet_cannot_use_is_refused(pipe: Any) -> None:
    x, words = torch.ones(2, 4, 8, 8), torch.ones(2, 7, 32)
    with pytest.raises(ValueError, match="class_labels has no effect on this network"):
        pipe.unet(x, 3, words, class_labels=torch.ones(2))
    mask = torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0, 0]])
    with pytest.raises(ValueError, match="other tokens for each entry of the batch"):
        pipe.unet(x, 3, words, encoder_attention_mask=mask)


def test_an_autoencoder_says_how_it_codes(pipe: Any) -> None:
    vae = pipe.vae
    assert (vae.use_slicing, vae.use_tiling) == (False, False)
    pipe.enable_vae_tiling(16)
    pipe.enable_vae_slicing()
    assert (vae.use_slicing, vae.use_tiling) == (True, True)
