"""Components of classes that dpnb has stand in dpnb's own form while a strategy needs its slots."""

from __future__ import annotations

import copy
import operator
from typing import Any

import diffusers
import pytest
import torch

import dpnb
from dpnb import (
    ComponentFusion,
    ComponentSlicing,
    ConditioningCache,
    FreeU,
    QKVFusion,
    SequentialOffload,
    StrategyError,
    VaeSlicing,
    VaeTiling,
)
from dpnb.metering.tensors import TensorMeter
from dpnb.models.model import Model
from dpnb.pipelines.attached.exchanges import build_like
from dpnb.stages import Stage
from dpnb.strategies.catalog import catalog_for
from dpnb.strategies.device_map import DeviceMap
from dpnb.strategies.strategy import Effect, Strategy
from tests.pipelines.attached.foreign import arguments, draw, everything_of
from tests.reference.checkpoints import pipeline, vae
from tests.reference.foreign.edits import CASES as EDITS
from tests.reference.foreign.flux import CASES as FLUX
from tests.reference.foreign.guided import CASES as GUIDED
from tests.reference.foreign.stable_diffusion import CASES as STABLE_DIFFUSION

OFFLOAD = SequentialOffload(device="simulated:8GiB/s")

NEEDY: tuple[Strategy, ...] = (
    VaeTiling(16),
    VaeSlicing(),
    FreeU(),
    QKVFusion(),
    ConditioningCache(),
)


@pytest.mark.parametrize("strategy", NEEDY, ids=repr)
@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_a_strategy_finds_its_slots_and_leaves_nothing(family: str, strategy: Strategy) -> None:
    pipe = pipeline(family)
    plain, before, studio = draw(pipe), everything_of(pipe), dpnb.attach(pipe)
    assert studio.strategies.obstacle(strategy) is None
    studio.strategies.enable(strategy)
    drawn = draw(pipe)
    is_same = torch.allclose(drawn, plain, atol=1e-5)
    assert is_same == (strategy.effect is Effect.EXACT)
    studio.strategies.enable(OFFLOAD)
    assert torch.equal(draw(pipe), drawn)
    assert studio.strategies.active == {strategy, OFFLOAD}
    studio.detach()
    assert everything_of(pipe) == before
    assert torch.equal(draw(pipe), plain)


def test_what_dpnb_has_is_told_by_plain_components() -> None:
    pipe = pipeline("sd1")
    strategies, before = dpnb.attach(pipe).strategies, frozenset({ComponentFusion()})
    strategies.use(before)
    assert strategies.obstacle(VaeTiling(16)) is None
    with pytest.raises(StrategyError, match="use VaeSlicing, which serves dpnb's own"):
        strategies.use([VaeTiling(16), ComponentSlicing()])
    assert strategies.active == before
    strategies.use([VaeTiling(16)])
    assert isinstance(pipe.vae, Model)


def test_where_all_are_exchanged_the_pipeline_is_foreign_all_the_same() -> None:
    case = FLUX[0]
    pipe = case.build()
    plain, studio = case.draw(pipe), dpnb.attach(pipe)
    shown = catalog_for(studio.strategies.networks)
    studio.strategies.enable(QKVFusion())
    assert isinstance(pipe.vae, Model)
    assert isinstance(pipe.transformer, Model)
    assert catalog_for(studio.strategies.networks) == shown
    studio.strategies.enable(DeviceMap((("text_encoder", "disk"),)))
    assert torch.allclose(case.draw(pipe), plain, atol=1e-5)


@pytest.mark.parametrize("strategy", [VaeTiling(16), QKVFusion()], ids=repr)
def test_in_the_middle_of_a_run(pipe: Any, strategy: Strategy) -> None:
    plain, studio, stages = draw(pipe), dpnb.attach(pipe), []
    studio.strategies.enable(strategy)
    for step in studio.stream(**arguments(num_inference_steps=4)):
        stages.append(step.stage)
        studio.strategies.use([strategy] if len(stages) % 2 == 0 else [OFFLOAD])
    assert stages == [Stage.TEXT, *[Stage.DENOISING] * 4, Stage.DECODING]
    studio.strategies.use(())
    assert torch.equal(draw(pipe), plain)


def test_tiling_is_exact_and_takes_less(pipe: Any) -> None:
    studio = dpnb.attach(pipe)
    latents = torch.randn(1, 4, 64, 64)
    plain, without = _peak(pipe, latents)
    studio.strategies.enable(VaeTiling(16))
    tiled, within = _peak(pipe, latents)
    assert torch.allclose(tiled, plain, atol=1e-5)
    assert within < 0.8 * without


def _peak(pipe: Any, latents: torch.Tensor) -> tuple[torch.Tensor, int]:
    meter = TensorMeter()
    with meter, torch.no_grad():
        decoded = pipe.vae.decode(latents, return_dict=False)[0]
    return decoded, meter.peak


def test_the_tensors_are_the_same_objects(pipe: Any) -> None:
    theirs, studio = dict(pipe.vae.named_parameters()), dpnb.attach(pipe)
    studio.strategies.enable(VaeTiling(16))
    assert isinstance(pipe.vae, Model)
    assert all(ours is theirs[name] for name, ours in pipe.vae.named_parameters())


def test_what_dpnb_does_not_have_is_left_alone() -> None:
    assert build_like(torch.nn.Linear(1, 1), set()) is None
    assert build_like(diffusers.AutoencoderTiny(), set()) is None
    odd = diffusers.AutoencoderKL(
        **{**vae().config, "down_block_types": ("AttnDownEncoderBlock2D",) * 2}
    )
    assert build_like(odd, {name for name, _ in odd.named_parameters()}) is None
    coder = vae()
    assert isinstance(build_like(coder, {name for name, _ in coder.named_parameters()}), Model)


def test_the_pipeline_is_saved_in_its_own_form(pipe: Any, tmp_path: Any) -> None:
    studio = dpnb.attach(pipe)
    studio.strategies.use([VaeTiling(16), QKVFusion()])
    pipe.save_pretrained(tmp_path)
    assert isinstance(pipe.vae, Model)
    loaded = diffusers.StableDiffusionPipeline.from_pretrained(tmp_path)
    assert type(loaded.vae) is diffusers.AutoencoderKL


@pytest.mark.parametrize("strategy", NEEDY, ids=repr)
def test_pipelines_that_share_components_share_what_stands_for_them(
    pipe: Any, strategy: Strategy
) -> None:
    plain, before = draw(pipe), everything_of(pipe)
    other = copy.copy(pipe)
    one, two = dpnb.attach(pipe), dpnb.attach(other)
    one.strategies.enable(strategy)
    assert pipe.vae is other.vae
    assert pipe.unet is other.unet
    assert torch.equal(draw(other), draw(pipe))
    two.detach()
    draw(pipe)
    one.detach()
    assert everything_of(pipe) == before
    assert torch.equal(draw(pipe), plain)


CASES = {case.name: case for case in (*FLUX, *STABLE_DIFFUSION)}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name",
    [
        "FluxPipeline",
        "FluxPipeline (true guidance)",
        "FluxControlNetPipeline",
        "StableDiffusionImg2ImgPipeline",
    ],
)
def test_caching_keeps_the_picture_in_any_unit_of_time(name: str) -> None:
    case = CASES[name]
    pipe = case.build()
    plain, studio = case.draw(pipe), dpnb.attach(pipe)
    studio.strategies.use([QKVFusion(), ConditioningCache()])
    assert torch.allclose(case.draw(pipe), plain, atol=1e-4)
    studio.detach()
    assert torch.equal(case.draw(pipe), plain)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("cases", "name"),
    [
        (GUIDED, "StableDiffusionPAGPipeline"),  # puts processors of its own into the attention
        (EDITS, "StableDiffusionPix2PixZeroPipeline"),  # likewise, in a function beside it
    ],
)
def test_no_network_stands_in_that_lacks_what_the_pipeline_asks(cases: Any, name: str) -> None:
    pipe = next(case for case in cases if case.name == name).build()
    studio = dpnb.attach(pipe)
    assert studio.strategies.obstacle(ConditioningCache()) is not None
    assert studio.strategies.obstacle(VaeTiling(16)) is None


def test_inner_pipelines_have_the_same_network() -> None:
    case = CASES["VisualClozePipeline"]
    pipe = case.build()
    plain, studio = case.draw(pipe), dpnb.attach(pipe)
    studio.strategies.use([QKVFusion()])
    assert torch.allclose(case.draw(pipe), plain, atol=1e-4)
    studio.detach()
    assert torch.equal(case.draw(pipe), plain)


def test_settings_that_a_pipeline_has_changed_since_are_those_that_count(pipe: Any) -> None:
    pipe.vae.register_to_config(scaling_factor=0.08)
    plain, studio = draw(pipe), dpnb.attach(pipe)
    studio.strategies.use([VaeTiling(16)])
    assert pipe.vae.config.scaling_factor == 0.08
    assert torch.allclose(draw(pipe), plain, atol=1e-5)


@pytest.mark.parametrize("change", ["before", "while it is on", "at what stands for it"])
def test_settings_that_are_changed_later_are_seen(pipe: Any, change: str) -> None:
    theirs, other, studio = pipe.vae, pipeline("sd1"), dpnb.attach(pipe)
    other.vae.register_to_config(scaling_factor=0.5)
    changed = draw(other)
    with studio.strategies.using(VaeTiling(16)):
        draw(pipe)
    if change == "before":
        theirs.register_to_config(scaling_factor=0.5)
    studio.strategies.enable(VaeTiling(16))
    if change == "while it is on":
        theirs.register_to_config(scaling_factor=0.5)
    elif change == "at what stands for it":
        pipe.vae.register_to_config(scaling_factor=0.5)
    assert torch.allclose(draw(pipe), changed, atol=1e-4)
    studio.detach()
    assert torch.equal(draw(pipe), changed)
    assert theirs.config.scaling_factor == 0.5


def test_a_setting_that_is_an_attribute_of_the_settings_is_seen(pipe: Any) -> None:
    pipe.vae.config.scaling_factor = 0.5
    changed, studio = draw(pipe), dpnb.attach(pipe)
    studio.strategies.enable(VaeTiling(16))
    assert torch.allclose(draw(pipe), changed, atol=1e-4)


def test_what_another_network_cannot_do_is_told_in_a_sentence(pipe: Any) -> None:
    dpnb.attach(pipe).strategies.enable(QKVFusion())
    with pytest.raises(AttributeError, match=r"stands for another while .* has no get_time_emb"):
        operator.attrgetter("get_time_embed")(pipe.unet)
    with pytest.raises(NotImplementedError, match=r"stands for another while .* nothing is on"):
        pipe.unet.add_adapter(None)
    with pytest.raises(NotImplementedError, match=r"stands for another while .* nothing is on"):
        pipe.unet.disable_lora()
    with pytest.raises(AttributeError, match="no attribute 'colour'"):
        operator.attrgetter("colour")(pipe.unet)
