"""What foreign components can do by themselves comes on, helps, and comes off without a trace."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor, nn

import dpnb
from dpnb import (
    AttentionSlicing,
    ComponentFreeU,
    ComponentFusion,
    ComponentSlicing,
    ComponentTiling,
    FreeU,
    LayerwiseCasting,
    ModelOffload,
    SequentialOffload,
    VaeTiling,
)
from dpnb.errors import StrategyError
from dpnb.metering.tensors import TensorMeter
from dpnb.nn.weight_changes import LowRank
from dpnb.strategies.attachment import attachment_of
from dpnb.strategies.catalog import CATALOG, COMPONENT_SWITCHES, catalog_for
from dpnb.strategies.lora import LoRA
from dpnb.strategies.plans import plan_from_json, plan_to_json, plan_to_python
from dpnb.strategies.settings import strategy_label
from dpnb.strategies.stack import StrategyStack, stack_of
from dpnb.strategies.strategy import Effect, Strategy
from tests.pipelines.attached.foreign import arguments, draw, everything_of
from tests.reference.checkpoints import pipeline, unet, vae
from tests.reference.foreign import (
    hunyuan_video,
    kandinsky,
    ltx,
    qwen,
    qwen_read,
    stable_diffusion_3,
    wan,
)
from tests.reference.foreign.parts_video import wan_vae

LINK = "simulated:8GiB/s"


def seeded(make: Callable[[], Any]) -> Any:
    """What `make` makes, always with the same random weights."""
    torch.manual_seed(0)
    return make().eval()


def part_of(cases: Any, name: str) -> Any:
    """A component of the first pipeline among `cases`."""
    return cases[0].build().components[name]


@torch.no_grad()
def decode(coder: Any, latents: Tensor) -> Tensor:
    """What an autoencoder makes of latents."""
    decoded: Tensor = coder.decode(latents, return_dict=False)[0]
    return decoded


def latents(*shape: int) -> Tensor:
    """Noise, always the same."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


CODERS: dict[str, tuple[Callable[[], Any], Tensor, int]] = {
    "AutoencoderKL": (lambda: seeded(vae), latents(2, 4, 64, 64), 32),
    "AutoencoderKLWan": (lambda: seeded(wan_vae), latents(2, 16, 2, 12, 12), 32),
    "AutoencoderKLLTXVideo": (lambda: part_of(ltx.CASES, "vae"), latents(2, 8, 2, 32, 32), 128),
    "AutoencoderKLHunyuanVideo": (
        lambda: part_of(hunyuan_video.CASES, "vae"),
        latents(2, 4, 2, 12, 12),
        32,
    ),
}


@pytest.fixture(params=CODERS)
def coder(request: pytest.FixtureRequest) -> tuple[Any, Tensor, int]:
    """An autoencoder, latents for it, and a size of tiles."""
    make, noise, tile = CODERS[request.param]
    network = make()
    channels = network.config.get("latent_channels", network.config.get("z_dim"))
    return network, noise[:, :channels].contiguous(), tile


def everything_in(network: nn.Module) -> dict[str, Any]:
    """The attributes, hooks and classes of a network and all of its modules."""
    stack_of(network, "part")
    found = everything_of(SimpleNamespace(components={"part": network}))
    return {key: held for key, held in found.items() if not key.startswith(".components")}


def is_outweighed(network: Any) -> bool:
    """Whether the pictures that a small decoder makes are larger than what it computes."""
    return type(network).__name__ == "AutoencoderKLLTXVideo"


def test_tiles_take_less_and_come_off(coder: tuple[Any, Tensor, int]) -> None:
    network, noise, tile = coder
    plain, most = measure(network, noise)
    before, stack = everything_in(network), stack_of(network, "vae")
    stack.enable(ComponentTiling(tile))
    assert network.use_tiling
    stack.use(())
    assert everything_in(network) == before
    stack.enable(ComponentTiling(tile))
    tiled, less = measure(network, noise)
    stack.use(())
    assert tiled.shape == plain.shape
    assert not torch.equal(tiled, plain)
    assert less < 0.8 * most or is_outweighed(network)
    assert torch.equal(decode(network, noise), plain)


def measure(network: Any, noise: Tensor) -> tuple[Tensor, int]:
    """What is decoded, and the most bytes of tensors meanwhile."""
    meter = TensorMeter()
    with meter:
        decoded = decode(network, noise)
    return decoded, meter.peak


def test_slices_take_less_and_come_off(coder: tuple[Any, Tensor, int]) -> None:
    network, noise, _ = coder
    plain, most = measure(network, noise)
    before, stack = everything_in(network), stack_of(network, "vae")
    stack.enable(ComponentSlicing())
    assert network.use_slicing
    stack.use(())
    assert everything_in(network) == before
    with stack.using(ComponentSlicing()):
        sliced, less = measure(network, noise)
    assert torch.allclose(sliced, plain, atol=1e-5)
    assert less < most or is_outweighed(network)
    assert torch.equal(decode(network, noise), plain)


def test_tiles_are_of_the_size_that_is_asked_for() -> None:
    network = seeded(wan_vae)
    stack_of(network, "vae").enable(ComponentTiling(64))
    assert (network.tile_sample_min_height, network.tile_sample_stride_width) == (64, 48)
    network = seeded(vae)
    stack_of(network, "vae").enable(ComponentTiling(64))
    assert (network.tile_sample_min_size, network.tile_latent_min_size) == (64, 32)


def test_what_was_on_already_stays_on() -> None:
    network = seeded(wan_vae)
    network.enable_tiling(tile_sample_min_height=128, tile_sample_stride_height=96)
    stack = stack_of(network, "vae")
    with stack.using(ComponentTiling()):
        assert network.tile_sample_min_height == 128
    assert network.use_tiling


@torch.no_grad()
def denoise(network: Any) -> Tensor:
    """One step of a UNet that reads words."""
    noise, words = latents(1, 4, 8, 8), latents(1, 5, network.config.cross_attention_dim)
    denoised: Tensor = network(noise, 3, words, return_dict=False)[0]
    return denoised


def test_projections_are_joined_and_parted() -> None:
    network = seeded(lambda: unet("sd1"))
    plain, before, stack = denoise(network), everything_in(network), stack_of(network, "unet")
    held = [id(parameter) for parameter in network.parameters()]
    stack.enable(ComponentFusion())
    joined = [module for name, module in network.named_modules() if name.endswith("to_qkv")]
    calls: list[object] = []
    hooks = [module.register_forward_hook(lambda *_: calls.append(None)) for module in joined]
    assert torch.allclose(denoise(network), plain, atol=1e-5)
    assert len(calls) == len(joined) > 0
    for hook in hooks:
        hook.remove()
    stack.use(())
    assert everything_in(network) == before
    assert [id(parameter) for parameter in network.parameters()] == held
    assert torch.equal(denoise(network), plain)


@pytest.mark.parametrize("cases", [stable_diffusion_3.CASES, wan.CASES], ids=["SD3", "Wan"])
def test_transformers_draw_the_same_from_joined_projections(cases: Any) -> None:
    pipe = cases[0].build()
    plain, studio = cases[0].draw(pipe), dpnb.attach(pipe)
    studio.strategies.enable(ComponentFusion())
    assert any("to_qkv" in name for name, _ in pipe.transformer.named_modules())
    assert torch.allclose(cases[0].draw(pipe), plain, atol=1e-5)
    studio.detach()
    assert torch.equal(cases[0].draw(pipe), plain)


def test_freeu_changes_the_picture_and_comes_off() -> None:
    network = seeded(lambda: unet("sd1"))
    plain, before, stack = denoise(network), everything_in(network), stack_of(network, "unet")
    stack.enable(ComponentFreeU.sd21())
    assert network.up_blocks[0].b1 == 1.4
    assert not torch.allclose(denoise(network), plain, atol=1e-3)
    stack.use(())
    assert everything_in(network) == before
    assert torch.equal(denoise(network), plain)


def test_a_unet_whose_blocks_never_look_at_freeu_is_refused() -> None:
    case = next(one for one in kandinsky.CASES if one.name == "KandinskyV22Pipeline")
    reason = dpnb.attach(case.build()).strategies.obstacle(ComponentFreeU())
    assert (
        reason == "ComponentFreeU needs a UNet with FreeU, written by others; there is none here."
    )


def test_random_numbers_come_as_without_it() -> None:
    network = seeded(lambda: unet("sd1"))
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    stack_of(network, "unet").enable(ComponentFusion())
    assert torch.equal(torch.rand(2), expected)


OTHERS: tuple[Strategy, ...] = (
    ModelOffload(device=LINK),
    SequentialOffload(device=LINK),
    LayerwiseCasting("bfloat16"),
    AttentionSlicing(),
)
SWITCHES: tuple[Strategy, ...] = (
    ComponentFusion(),
    ComponentFreeU(),
    ComponentTiling(16),
    ComponentSlicing(),
)


@pytest.mark.parametrize("other", OTHERS, ids=repr)
@pytest.mark.parametrize("switch", SWITCHES, ids=repr)
def test_with_others_in_any_order(switch: Strategy, other: Strategy) -> None:
    pipe = pipeline("sd1")
    plain, before, studio = draw(pipe), everything_of(pipe), dpnb.attach(pipe)
    pictures = []
    for first, second in ((switch, other), (other, switch)):
        studio.strategies.enable(first)
        draw(pipe)
        studio.strategies.enable(second)
        pictures.append(draw(pipe))
        studio.strategies.disable(type(first))
        draw(pipe)
        studio.strategies.disable(type(second))
        assert torch.equal(draw(pipe), plain)
    assert torch.equal(*pictures)
    studio.detach()
    assert everything_of(pipe) == before


@pytest.mark.parametrize("switch", SWITCHES, ids=repr)
def test_switched_between_the_steps_of_a_run(switch: Strategy) -> None:
    pipe = pipeline("sd1")
    plain, before, studio = draw(pipe), everything_of(pipe), dpnb.attach(pipe)
    for place, _ in enumerate(studio.stream(**arguments())):
        studio.strategies.use([switch] if place % 2 == 0 else [])
    studio.detach()
    assert everything_of(pipe) == before
    assert torch.equal(draw(pipe), plain)


def test_tiles_exclude_those_of_dpnb() -> None:
    studio = dpnb.attach(pipeline("sd1"))
    studio.strategies.enable(VaeTiling(16))
    studio.strategies.enable(ComponentTiling(16))
    assert studio.strategies.active == {ComponentTiling(16)}
    with pytest.raises(StrategyError, match="contradict"):
        studio.strategies.use([VaeTiling(16), ComponentTiling(16)])
    studio.strategies.enable(FreeU())
    studio.strategies.enable(ComponentFreeU())
    studio.strategies.disable(FreeU)
    assert studio.strategies.active == {ComponentTiling(16), ComponentFreeU()}


@pytest.mark.parametrize("kind", COMPONENT_SWITCHES, ids=lambda kind: kind.__name__)
def test_dpnb_s_own_networks_are_told_what_serves_them(kind: type[Strategy]) -> None:
    pipe = dpnb.random_pipeline("tiny-sd")
    ours = {"Tiling": "VaeTiling", "Slicing": "VaeSlicing", "Fusion": "QKVFusion", "FreeU": "FreeU"}
    wanted = f"use {ours[kind.__name__.removeprefix('Component')]}, which"
    assert wanted in str(kind().obstacle(pipe.strategies.networks))
    assert catalog_for(pipe.strategies.networks) == CATALOG


@pytest.mark.parametrize("kind", COMPONENT_SWITCHES, ids=lambda kind: kind.__name__)
def test_others_that_cannot_are_told_so(kind: type[Strategy]) -> None:
    stack = stack_of(nn.Linear(1, 1), "transformer")
    assert "there is none here" in str(stack.obstacle(kind()))
    with pytest.raises(StrategyError):
        stack.enable(kind())


def test_tiles_that_do_not_overlap_evenly_are_refused() -> None:
    coder = seeded(wan_vae)
    stack = stack_of(coder, "vae")
    assert stack.obstacle(ComponentTiling(40)) == (
        "tile is 40, but tiles of the vae overlap evenly only at multiples of 32 pixels; use 32."
    )
    assert stack.obstacle(ComponentTiling(32)) is None
    assert "cannot" not in str(stack.obstacle(ComponentTiling()))
    del coder.tile_sample_min_height
    assert stack.obstacle(ComponentTiling()) is None
    assert "leave tile out" in str(stack.obstacle(ComponentTiling(32)))


def tiny_coder(**changes: Any) -> Any:
    """An autoencoder that says of itself that it makes 8 x 8 pixels of a latent."""
    blocks = {"num_encoder_blocks": (1, 1), "num_decoder_blocks": (1, 1)}
    widths = {"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8)}
    return seeded(lambda: diffusers.AutoencoderTiny(**blocks, **widths, **changes))


def patched_coder() -> Any:
    """An autoencoder that takes patches larger than what it calls a latent."""
    return seeded(lambda: part_of([case_of(qwen, "QwenImageEditPipeline")], "vae"))


def deep_coder() -> Any:
    """An autoencoder with tiles of less than a latent."""
    return seeded(lambda: part_of([case_of(qwen_read, "LongCatImageEditPipeline")], "vae"))


def case_of(module: Any, name: str) -> Any:
    """A small pipeline among those of a module."""
    return next(case for case in module.CASES if case.name == name)


MISFITS: dict[str, tuple[Callable[[], Any], tuple[int, ...], str]] = {
    "it makes 2 x 2 pixels of a latent": (tiny_coder, (1, 4, 80, 64), "do not fit together"),
    "it takes patches": (patched_coder, (1, 4, 1, 48, 32), "do not fit together"),
    "its tiles are no latent": (deep_coder, (1, 16, 2, 1), "less than a latent"),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_tiles_that_do_not_fit_together_are_refused(misfit: str) -> None:
    make, shape, reason = MISFITS[misfit]
    coder = make()
    before, stack = everything_in(coder), stack_of(coder, "vae")
    for tile in (None, 64):
        refusal = str(stack.obstacle(ComponentTiling(tile)))
        assert refusal.endswith("leave ComponentTiling out."), refusal
    assert reason in str(stack.obstacle(ComponentTiling()))
    assert everything_in(coder) == before
    plain = decode(coder, latents(*shape))
    coder.enable_tiling()
    assert shape_of_decoded(coder, latents(*shape)) != plain.shape


def shape_of_decoded(coder: Any, noise: Tensor) -> torch.Size | None:
    """Of what an autoencoder decodes; `None` where it fails."""
    try:
        return decode(coder, noise).shape
    except (RuntimeError, ValueError):
        return None


def test_pictures_that_cannot_be_encoded_in_tiles_are_encoded_whole() -> None:
    coder = part_of([case_of(qwen_read, "HunyuanImagePipeline")], "vae")
    picture, stack = latents(1, 3, 64, 48), stack_of(coder, "vae")
    before, whole = everything_in(coder), encode(coder, picture)
    plain = decode(coder, whole)
    with stack.using(ComponentTiling()):
        assert torch.equal(encode(coder, picture), whole)
        assert coder.use_tiling
        tiled = decode(coder, whole)
    assert tiled.shape == plain.shape
    assert not torch.equal(tiled, plain)
    assert everything_in(coder) == before
    coder.enable_tiling()
    with pytest.raises(ValueError, match="not enough values to unpack"):
        encode(coder, picture)


@torch.no_grad()
def encode(coder: Any, picture: Tensor) -> Tensor:
    """The likeliest latents of a picture."""
    mode: Tensor = coder.encode(picture).latent_dist.mode()
    return mode


@pytest.mark.parametrize("kind", ["AutoencoderKL", "AutoencoderKLWan"])
def test_tiles_are_tried_once_and_without_a_trace(kind: str) -> None:
    make, _, tile = CODERS[kind]
    coder, drawn = make(), torch.random.get_rng_state()
    values = {name: value.clone() for name, value in coder.state_dict().items()}
    called: list[object] = []
    for part in (coder.encoder, coder.decoder):
        part.register_forward_pre_hook(lambda *given: called.append(given))
    before, stack = everything_in(coder), stack_of(coder, "vae")
    with TensorMeter() as meter:
        for size in (None, tile, 2 * tile):
            assert stack.obstacle(ComponentTiling(size)) is None
    assert (meter.peak, called) == (0, [])
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert everything_in(coder) == before
    assert all(torch.equal(value, values[name]) for name, value in coder.state_dict().items())
    assert len(attachment_of(coder).tile_trials) == 1


@pytest.mark.parametrize("tile", [0, -32, 1.5, "64", True])
def test_a_tile_is_a_number_of_pixels(tile: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        ComponentTiling(tile)


def test_projections_with_low_rank_layers_are_left_alone() -> None:
    from peft import LoraConfig

    network = seeded(lambda: unet("sd1"))
    stack = stack_of(network, "unet")
    network.add_adapter(LoraConfig(r=2, target_modules=["to_q"]))
    assert "LoRA layers" in str(stack.obstacle(ComponentFusion()))


def test_projections_of_several_widths_are_left_alone() -> None:
    pipe = next(case for case in ltx.CASES if case.name == "LTX2Pipeline").build()
    studio = dpnb.attach(pipe)
    reason = studio.strategies.obstacle(ComponentFusion())
    assert reason is not None
    assert "different widths" in reason


def test_low_rank_weights_are_not_passed_by() -> None:
    network = seeded(lambda: unet("sd1"))
    stack = stack_of(network, "unet")
    name, weight = next((n, p) for n, p in network.named_parameters() if n.endswith("to_q.weight"))
    change = LowRank(torch.ones(1, weight.shape[1]), torch.ones(weight.shape[0], 1), 1.0)
    attachment_of(network).adapters["style"] = {name: change}
    assert stack.obstacle(LoRA()) is None
    stack.enable(ComponentFusion())
    assert "ComponentFusion" in str(stack.obstacle(LoRA()))


def test_they_are_values_with_names() -> None:
    plan = frozenset({ComponentTiling(64), ComponentSlicing(), ComponentFusion(), ComponentFreeU()})
    assert plan_from_json(plan_to_json(plan)) == plan
    assert "from dpnb import ComponentFreeU, ComponentFusion" in plan_to_python(plan)
    assert [strategy_label(kind) for kind in COMPONENT_SWITCHES] == [
        "Component fusion",
        "Component FreeU",
        "Component tiling",
        "Component slicing",
    ]
    effects = [kind().effect for kind in COMPONENT_SWITCHES]
    assert effects == [Effect.EXACT, Effect.STYLISTIC, Effect.APPROXIMATE, Effect.EXACT]


def test_they_are_shown_where_a_network_is_foreign() -> None:
    pipe = pipeline("sd1")
    stack: StrategyStack = dpnb.attach(pipe).strategies
    assert catalog_for(stack.networks) == CATALOG + COMPONENT_SWITCHES


def test_a_copy_of_the_pipeline_is_plain() -> None:
    pipe = pipeline("sd1")
    plain, studio = draw(pipe), dpnb.attach(pipe)
    studio.strategies.use(SWITCHES)
    with studio.strategies.suspended():
        made = copy.deepcopy(pipe.unet)
    assert "fused_projections" not in str(made.state_dict().keys())
    assert not any("to_qkv" in name for name, _ in made.named_modules())
    studio.strategies.use(())
    assert torch.equal(draw(pipe), plain)
