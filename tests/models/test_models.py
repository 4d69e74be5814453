from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import dpnb
from dpnb import AutoencoderKL, UNet2DConditionModel
from dpnb.errors import CheckpointError
from dpnb.metering.tensors import TensorMeter
from dpnb.models.coders import DirectCoder
from dpnb.models.distribution import DiagonalGaussian
from dpnb.models.unet_blocks import UpBlock
from dpnb.nn.skip_connections import concatenate
from dpnb.pipelines.shapes.architectures import ARCHITECTURES, fill

TINY = dict(ARCHITECTURES["tiny-sd"].unet)
VAE = dict(ARCHITECTURES["tiny-sd"].vae)


def unet(**changes: Any) -> UNet2DConditionModel:
    torch.manual_seed(0)
    return UNet2DConditionModel(**{**TINY, **changes}).eval()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    unet().save_pretrained(tmp_path)
    return tmp_path


def test_slots_have_their_plain_defaults() -> None:
    assert all(b.merge_skip is concatenate for b in unet().modules() if isinstance(b, UpBlock))
    assert AutoencoderKL(**VAE).coder == DirectCoder()


def test_gradients_are_the_same_as_without_work_in_place() -> None:
    network = unet()
    x, context = torch.randn(2, 4, 8, 8), torch.randn(2, 7, 32)
    recorded = network(x, 10, context).sample
    recorded.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    with torch.no_grad():
        torch.testing.assert_close(network(x, 10, context).sample, recorded)


def test_a_call_leaves_its_arguments_alone() -> None:
    network = unet()
    x, context, t = torch.randn(2, 4, 8, 8), torch.randn(2, 7, 32), torch.tensor([3, 900])
    kept = [v.clone() for v in (x, context, t)]
    with torch.no_grad():
        network(x, t, context)
        AutoencoderKL(**VAE).eval()(torch.randn(1, 3, 16, 16))
    assert all(torch.equal(a, b) for a, b in zip((x, context, t), kept, strict=True))


def test_nothing_is_left_alive_after_a_call() -> None:
    network = unet()
    x, context = torch.randn(2, 4, 8, 8), torch.randn(2, 7, 32)
    with torch.no_grad(), TensorMeter() as meter:
        out = network(x, 10, context).sample
        assert meter.current == out.nbytes
    assert meter.peak > out.nbytes


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 9), (5, 16)])
def test_any_size_comes_back_at_its_size(height: int, width: int) -> None:
    with torch.no_grad():
        out = unet()(torch.randn(1, 4, height, width), 10, torch.randn(1, 7, 32)).sample
    assert out.shape == (1, 4, height, width)


def test_added_residuals_change_the_prediction() -> None:
    network = unet()
    x, context = torch.randn(1, 4, 8, 8), torch.randn(1, 7, 32)
    with torch.no_grad():
        plain = network(x, 1, context).sample
        shapes = [(16, 8), (16, 8), (16, 4), (32, 4)]
        down = [torch.ones(1, channels, side, side) for channels, side in shapes]
        steered = network(
            x,
            1,
            context,
            down_block_additional_residuals=down,
            mid_block_additional_residual=torch.ones(1, 32, 4, 4),
        ).sample
    assert not torch.allclose(plain, steered)


def test_xl_conditions_that_are_missing_are_named() -> None:
    network = UNet2DConditionModel(**ARCHITECTURES["tiny-sdxl"].unet)
    with pytest.raises(ValueError, match="needs added_cond_kwargs with text_embeds and time_ids"):
        network(torch.randn(1, 4, 8, 8), 1, torch.randn(1, 7, 64))


def test_a_tuple_is_returned_on_request() -> None:
    vae = AutoencoderKL(**VAE)
    with torch.no_grad():
        assert type(vae.decode(torch.randn(1, 4, 4, 4), return_dict=False)) is tuple
        assert vae.encode(torch.randn(1, 3, 8, 8), return_dict=False)[0].mean.shape[1] == 4


def test_settings_round_trip_with_those_that_are_unknown(
    saved: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = saved / "config.json"
    values = json.loads(path.read_text()) | {"motto": "draw", "ears": [1, 2]}
    path.write_text(json.dumps(values))
    with caplog.at_level(logging.WARNING):
        network = UNet2DConditionModel.from_pretrained(saved)
    assert [r.getMessage() for r in caplog.records] == [
        "UNet2DConditionModel does not use these settings and keeps them: ears, motto."
    ]
    assert isinstance(network, UNet2DConditionModel)
    assert network.config["motto"] == "draw"
    network.save_pretrained(saved)
    assert json.loads(path.read_text()) == values


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"act_fn": "elu"}, "does not support act_fn='elu'; it supports 'silu'"),
        ({"mid_block_type": "Other"}, "does not support mid_block_type='Other'"),
        ({"down_block_types": ("DownBlock2D",)}, "cannot build down_block_types"),
        ({"num_attention_heads": 2}, "give the number of heads as attention_head_dim"),
        (
            {
                "transformer_layers_per_block": ((3, 2, 1), 1),
                "reverse_transformer_layers_per_block": (1, 1),
                "down_block_types": ("CrossAttnDownBlock2D",) * 2,
                "layers_per_block": 1,
            },
            r"a level of 1 transformers the depths \(3, 2, 1\)",
        ),
        ({"colour": "red"}, "has no setting colour"),
        ({"layers_per_block": (1, 2, 3)}, "has 3 entries; it needs one for each of 2"),
    ],
)
def test_settings_that_cannot_be_built_are_named(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises((ValueError, TypeError), match=sentence):
        unet(**settings)


@pytest.mark.parametrize("low_cpu_mem_usage", [True, False])
def test_a_saved_model_is_the_same_model(saved: Path, low_cpu_mem_usage: bool) -> None:
    loaded = UNet2DConditionModel.from_pretrained(saved, low_cpu_mem_usage=low_cpu_mem_usage)
    assert isinstance(loaded, UNet2DConditionModel)
    expected = unet().state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    assert all(torch.equal(v, expected[k]) for k, v in loaded.state_dict().items())
    assert not loaded.training


@pytest.mark.parametrize("name", ["dtype", "torch_dtype"])
def test_weights_are_cast_as_asked(saved: Path, name: str) -> None:
    asked: dict[str, Any] = {name: torch.bfloat16}
    loaded = UNet2DConditionModel.from_pretrained(saved, **asked)
    assert isinstance(loaded, UNet2DConditionModel)
    assert loaded.dtype is torch.bfloat16
    loaded.save_pretrained(saved)
    kept = UNet2DConditionModel.from_pretrained(saved, dtype="auto")
    assert isinstance(kept, UNet2DConditionModel)
    assert kept.dtype is torch.bfloat16


def test_missing_weights_start_fresh_and_are_reported(saved: Path) -> None:
    network = unet()
    state = network.state_dict()
    del state["conv_in.weight"], state["conv_norm_out.bias"]
    loaded = UNet2DConditionModel.from_config(network.config)
    with torch.device("meta"):
        loaded = UNet2DConditionModel.from_config(network.config)
    info = loaded.assign({**state, "tail": torch.zeros(1)}, saved)
    assert info.missing == ("conv_in.weight", "conv_norm_out.bias")
    assert info.unexpected == ("tail",)
    assert not any(p.is_meta for p in loaded.parameters())
    assert torch.equal(loaded.conv_in.bias, network.conv_in.bias)  # type: ignore[arg-type]


def test_weights_of_another_shape_are_refused_or_left_out(saved: Path) -> None:
    path = saved / "config.json"
    values = json.loads(path.read_text()) | {"in_channels": 9}
    path.write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=r"conv_in.weight has shape \(16, 4, 3, 3\) where"):
        UNet2DConditionModel.from_pretrained(saved)
    result = UNet2DConditionModel.from_pretrained(
        saved, ignore_mismatched_sizes=True, output_loading_info=True
    )
    assert isinstance(result, tuple)
    assert result[1].mismatched == ("conv_in.weight",)
    assert result[0].conv_in.weight.shape == (16, 9, 3, 3)


def test_a_model_knows_its_size_and_place() -> None:
    network = unet()
    fill(network, torch.float16, torch.Generator())
    assert network.nbytes == 2 * sum(p.numel() for p in network.parameters())
    assert (network.dtype, network.device) == (torch.float16, torch.device("cpu"))


def test_the_autoencoder_samples_around_its_mode() -> None:
    vae = AutoencoderKL(**VAE).eval()
    with torch.no_grad():
        dist = vae.encode(torch.randn(2, 3, 16, 16)).latent_dist
        draws = [dist.sample(torch.Generator().manual_seed(1)) for _ in range(2)]
    assert torch.equal(*draws)
    assert torch.equal(dist.mode(), dist.mean)
    torch.testing.assert_close(dist.std.square(), dist.var)
    normal = torch.distributions.Normal(dist.mean, dist.std)
    expected = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0))
    torch.testing.assert_close(dist.kl(), expected.sum((1, 2, 3)))


def test_a_distribution_without_variance_is_its_mean() -> None:
    moments = torch.randn(2, 8, 4, 4)
    dist = DiagonalGaussian(moments, deterministic=True)
    assert dist.parameters is moments
    assert torch.equal(dist.sample(), dist.mean)
    assert not dist.var.any()
    assert not dist.std.any()
    assert not dist.kl()
    assert not dist.nll(torch.randn(2, 4, 4, 4))
    assert dist.repeat(2).deterministic
    assert not DiagonalGaussian(moments).deterministic


def test_a_forward_pass_goes_there_and_back() -> None:
    vae = AutoencoderKL(**VAE).eval()
    pictures = torch.randn(1, 3, 16, 24)
    assert vae(pictures).sample.shape == pictures.shape
    assert vae(pictures, sample_posterior=True).sample.shape == pictures.shape
    assert isinstance(vae.encoder, nn.Module)
    assert vae.scale == 2


def test_what_is_stored_small_computes_in_the_dtype_of_the_biases() -> None:
    vae = dpnb.AutoencoderKL(
        block_out_channels=(64, 64),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    pipe: Any = dpnb.random_pipeline("tiny-sd")
    pipe.vae = vae
    pipe.strategies.enable(dpnb.LayerwiseCasting("float16"))
    assert next(vae.parameters()).dtype == torch.float16
    assert vae.dtype == torch.float32
    pipe.strategies.use([])
    assert next(vae.parameters()).dtype == vae.dtype == torch.float32


def test_what_a_unet_cannot_use_is_refused() -> None:
    network = unet()
    x, words = torch.ones(2, 4, 8, 8), torch.ones(2, 7, 32)
    with pytest.raises(ValueError, match="class_labels has no effect on this network"):
        network(x, 3, words, class_labels=torch.ones(2))
    mask = torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0, 0]])
    with pytest.raises(ValueError, match="other tokens for each entry of the batch"):
        network(x, 3, words, encoder_attention_mask=mask)


def test_an_autoencoder_says_how_it_codes() -> None:
    pipe: Any = dpnb.random_pipeline("tiny-sd")
    vae = pipe.vae
    assert (vae.use_slicing, vae.use_tiling) == (False, False)
    pipe.enable_vae_tiling(16)
    pipe.enable_vae_slicing()
    assert (vae.use_slicing, vae.use_tiling) == (True, True)
