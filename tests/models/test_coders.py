from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dpnb import AutoencoderKL
from dpnb.metering.tensors import TensorMeter
from dpnb.models.coders import Coder, DirectCoder, SlicedCoder, TiledCoder
from dpnb.models.tiling import strips
from dpnb.nn.attention import PictureAttention
from dpnb.nn.attention_kernels import SlicedKernel, sdpa
from dpnb.nn.resampling import Downsample, Upsample
from dpnb.nn.resnet import ResnetBlock
from dpnb.pipelines.shapes.architectures import ARCHITECTURES, fill

pytestmark = pytest.mark.exhaustive

TINY = dict(ARCHITECTURES["tiny-sd"].vae)
NARROW = dict(ARCHITECTURES["sd15"].vae) | {
    "block_out_channels": (8, 16, 32, 32),
    "norm_num_groups": 4,
}

BLOCKS = (ResnetBlock, PictureAttention, Upsample, Downsample)


def autoencoder(dtype: torch.dtype = torch.float32, **settings: Any) -> AutoencoderKL:
    """Random weights, the norms' too."""
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        vae = AutoencoderKL(**(settings or TINY))
    fill(vae, torch.float32, generator)
    for parameter in vae.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return vae.to(dtype)


def latents(*size: int, batch: int = 1) -> Tensor:
    return torch.randn(batch, 4, *size, generator=torch.Generator().manual_seed(1))


def pictures(*size: int, batch: int = 1) -> Tensor:
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(2))


def assert_same(coder: Coder, vae: AutoencoderKL, z: Tensor, x: Tensor) -> None:
    """Both directions differ from the plain ones by 1e-5 of their range at most."""
    for way, given in (("decode", z), ("encode", x)):
        plain, ours = (getattr(c, way)(vae, given) for c in (DirectCoder(), coder))
        assert ours.shape == plain.shape
        assert (ours - plain).abs().max() <= 1e-5 * (plain.max() - plain.min())


@torch.no_grad()
@pytest.mark.parametrize("spill", [False, True])
@pytest.mark.parametrize("tile", [1, 3, 4, 64])
@pytest.mark.parametrize("size", [(8, 8), (7, 9), (13, 5), (1, 2)])
def test_strips_give_the_plain_result(size: tuple[int, int], tile: int, spill: bool) -> None:
    height, width = size
    x = pictures(2 * height + height % 2, 2 * width + 1, batch=2)
    assert_same(TiledCoder(tile, spill), autoencoder(), latents(*size, batch=2), x)


@torch.no_grad()
@pytest.mark.parametrize(("tile", "spill"), [(None, False), (5, True)])
def test_stable_diffusions_shape_gives_the_plain_result(tile: int | None, spill: bool) -> None:
    vae = autoencoder(**NARROW)
    assert_same(TiledCoder(tile, spill), vae, latents(9, 6), pictures(75, 41))


@torch.no_grad()
@pytest.mark.parametrize(
    "change",
    [
        {"mid_block_add_attention": False},
        {"use_quant_conv": False, "use_post_quant_conv": False},
        {"layers_per_block": 2},
        {"block_out_channels": (8, 8)},
    ],
)
def test_every_shape_gives_the_plain_result(change: dict[str, Any]) -> None:
    assert_same(TiledCoder(3), autoencoder(**TINY | change), latents(6, 5), pictures(12, 10))


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("spill", [False, True])
def test_half_precision_is_as_far_from_the_exact_result_as_plain(
    dtype: torch.dtype, spill: bool
) -> None:
    exact, vae, z = autoencoder(), autoencoder(dtype), latents(6, 5, batch=2)
    exact.load_state_dict({name: value.float() for name, value in vae.state_dict().items()})
    wanted = exact.decode(z.to(dtype).float()).sample
    plain, ours = (
        (coder.decode(vae, z.to(dtype)) - wanted).square().mean().sqrt()
        for coder in (DirectCoder(), TiledCoder(3, spill))
    )
    assert ours <= 1.25 * plain


@torch.no_grad()
def test_attention_takes_few_queries_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    vae = autoencoder()
    (attention,) = (m for m in vae.decoder.modules() if isinstance(m, PictureAttention))
    seen: list[tuple[int, int]] = []

    def kernel(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        seen.append((query.shape[2], key.shape[2]))
        return sdpa(query, key, value)

    attention.kernel = kernel
    monkeypatch.setattr(strips, "LARGEST_MATRIX", 2 * 6 * 48)
    assert_same(TiledCoder(5), vae, latents(8, 6), pictures(16, 12))
    assert seen[1:] == [(12, 48), (12, 48), (6, 48), (12, 48), (6, 48)]


@torch.no_grad()
def test_kernels_that_overwrite_queries_do_no_harm() -> None:
    vae = autoencoder()
    for module in vae.modules():
        if isinstance(module, PictureAttention):
            module.kernel = SlicedKernel(sdpa, 1)
    assert_same(TiledCoder(3), vae, latents(8, 6), pictures(16, 12))


@torch.no_grad()
@pytest.mark.parametrize("coder", [DirectCoder(), TiledCoder(4), TiledCoder(4, spill=True)])
def test_every_layer_is_called_within_its_block(coder: Coder) -> None:
    vae = autoencoder()
    blocks = [m for m in vae.modules() if isinstance(m, BLOCKS)]
    leaves = {m for m in vae.modules() if not list(m.children()) and list(m.parameters())}
    outer = {leaf: block for block in blocks for leaf in block.modules() if leaf in leaves}
    entered: list[nn.Module] = []
    called: set[nn.Module] = set()

    def enter(module: nn.Module, _: object) -> None:
        if module in leaves:
            assert outer.get(module) in (None, *entered[-1:])
            called.add(module)
        else:
            entered.append(module)

    for module in (*blocks, *leaves):
        module.register_forward_pre_hook(enter)
    for block in blocks:
        block.register_forward_hook(lambda *_: entered.pop() and None)
    coder.decode(vae, latents(4, 4))
    coder.encode(vae, pictures(8, 8))
    assert called == leaves
    assert not entered
    assert not any("forward" in vars(block) for block in blocks)


@torch.no_grad()
@pytest.mark.parametrize(
    "coder", [TiledCoder(4), TiledCoder(4, spill=True), TiledCoder(8, blended=True)]
)
def test_arguments_stay_as_they_are_and_nothing_stays_alive(coder: TiledCoder) -> None:
    vae, z, x = autoencoder(), latents(8, 8), pictures(16, 16)
    kept = z.clone(), x.clone()
    with TensorMeter() as meter:
        for out in (coder.decode(vae, z), coder.encode(vae, x)):
            assert out.untyped_storage().nbytes() == out.nbytes
        del out
        assert meter.current == 0
    assert torch.equal(z, kept[0])
    assert torch.equal(x, kept[1])
    assert coder.store.current == 0


def test_gradients_are_those_of_the_plain_path() -> None:
    vae, z = autoencoder(), latents(4, 4)
    grads = []
    for coder in (DirectCoder(), TiledCoder(3)):
        given = z.clone().requires_grad_()
        coder.decode(vae, given).square().sum().backward()
        assert given.grad is not None
        grads.append(given.grad)
    assert torch.equal(*grads)


def test_gradients_that_nobody_records_cost_nothing() -> None:
    vae, z = autoencoder(), latents(8, 8)
    with TensorMeter() as meter:
        TiledCoder(4).decode(vae, z)
    with torch.no_grad(), TensorMeter() as other:
        TiledCoder(4).decode(vae, z)
    assert meter.peak == other.peak


@torch.no_grad()
@pytest.mark.parametrize("inner", [DirectCoder(), TiledCoder(4)])
def test_slices_give_the_plain_result_and_need_one_pictures_memory(inner: Coder) -> None:
    vae, z = autoencoder(), latents(8, 8, batch=3)
    assert_same(SlicedCoder(inner), vae, z, pictures(16, 16, batch=3))
    with TensorMeter() as meter:
        one = inner.decode(vae, z[:1]).nbytes
    alone = meter.peak
    with TensorMeter() as meter:
        SlicedCoder(inner).decode(vae, z)
    assert meter.peak <= alone + 3 * one


@torch.no_grad()
def test_one_picture_is_not_sliced() -> None:
    vae, z = autoencoder(), latents(4, 4)
    assert torch.equal(SlicedCoder(DirectCoder()).decode(vae, z), DirectCoder().decode(vae, z))


@torch.no_grad()
def test_the_store_counts_what_is_spilled_and_the_meter_does_not() -> None:
    vae, z = autoencoder(**TINY | {"mid_block_add_attention": False}), latents(64, 4)
    peaks = []
    for coder in (held := TiledCoder(4), spilled := TiledCoder(4, spill=True)):
        with TensorMeter() as meter:
            coder.decode(vae, z)
        peaks.append(meter.peak)
    assert held.store.peak == 0
    assert peaks[1] < 0.3 * peaks[0]
    assert peaks[0] - peaks[1] < spilled.store.peak < peaks[0]


@torch.no_grad()
@pytest.mark.parametrize("size", [(5, 5), (8, 20), (21, 7)])
def test_blended_tiles_have_the_size_of_the_picture_and_resemble_it(size: tuple[int, int]) -> None:
    vae, z = autoencoder(), latents(*size, batch=2)
    x = pictures(2 * size[0] + 1, 2 * size[1], batch=2)
    for tile in (8, None):
        coder = TiledCoder(tile, blended=True)
        for plain, ours in (
            (DirectCoder().decode(vae, z), coder.decode(vae, z)),
            (DirectCoder().encode(vae, x), coder.encode(vae, x)),
        ):
            assert ours.shape == plain.shape
            both = torch.stack((plain.flatten(), ours.flatten()))
            assert torch.corrcoef(both)[0, 1] > 0.5


@torch.no_grad()
def test_one_blended_tile_is_the_plain_result() -> None:
    vae, z = autoencoder(), latents(7, 8)
    assert torch.equal(TiledCoder(16, blended=True).decode(vae, z), DirectCoder().decode(vae, z))


@pytest.mark.parametrize(
    ("settings", "error", "sentence"),
    [
        ({"tile": 0}, ValueError, "tile is 0; use at least 1 pixel"),
        ({"tile": -8}, ValueError, "tile is -8; use at least 1 pixel"),
        ({"tile": 2.5}, TypeError, "tile is 2.5; use a number of pixels such as 64"),
        ({"tile": True}, TypeError, "tile is True; use a number of pixels"),
        ({"spill": True, "blended": True}, ValueError, "contradict each other"),
    ],
)
def test_bad_tiles_are_refused(
    settings: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        TiledCoder(**settings)


@pytest.mark.parametrize("tile", [7, 9, 4])
def test_blended_tiles_that_do_not_fit_the_latents_are_refused(tile: int) -> None:
    with pytest.raises(
        ValueError, match=f"tile is {tile}; .* a multiple of 2 pixels, and at least 8"
    ):
        TiledCoder(tile, blended=True).decode(autoencoder(), latents(8, 8))
