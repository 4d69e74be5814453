"""Whatever its owner does to an attached pipeline is done as if it were not attached."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import dpnb
from dpnb import (
    AttachError,
    ChannelsLast,
    ComponentFreeU,
    ComponentTiling,
    LayerwiseCasting,
    ModelOffload,
    QKVFusion,
    SequentialOffload,
    StrategyError,
    VaeTiling,
)
from dpnb.strategies.strategy import Strategy
from tests.pipelines.attached.foreign import arguments, draw, everything_of
from tests.reference.checkpoints import pipeline

SIMULATED = "simulated:8GiB/s"
PLANS: tuple[tuple[Strategy, ...], ...] = (
    (),
    (SequentialOffload(device=SIMULATED),),
    (ModelOffload(device=SIMULATED),),
    (VaeTiling(16), QKVFusion()),
    (ChannelsLast(),),
    (ComponentTiling(), ComponentFreeU()),
)


@pytest.fixture
def low_rank(tmp_path: Path) -> str:
    """A file of low-rank weights for the small pipeline's UNet."""
    values: dict[str, Tensor] = {}
    draw_from = torch.Generator().manual_seed(0)
    for name, module in pipeline("sd1").unet.named_modules():
        if isinstance(module, nn.Linear) and name.endswith(("to_q", "to_v")):
            for key, shape in (("A", (2, module.in_features)), ("B", (module.out_features, 2))):
                drawn = torch.randn(shape, generator=draw_from) * 0.3
                values[f"unet.{name}.lora_{key}.weight"] = drawn
    save_file(values, tmp_path / "style.safetensors")
    return str(tmp_path / "style.safetensors")


@pytest.mark.parametrize("plan", PLANS[1:3], ids=repr)
def test_low_rank_weights_come_and_go_while_weights_are_elsewhere(
    pipe: Any, low_rank: str, plan: tuple[Strategy, ...]
) -> None:
    plain = draw(pipe)
    other = pipeline("sd1")
    other.load_lora_weights(low_rank)
    styled = draw(other)
    assert not torch.equal(styled, plain)
    studio = dpnb.attach(pipe)
    studio.strategies.use(plan)
    pipe.load_lora_weights(low_rank)
    assert studio.strategies.active == frozenset(plan)
    assert torch.equal(draw(pipe), styled)
    pipe.unload_lora_weights()
    assert torch.equal(draw(pipe), plain)


def test_what_cannot_stay_on_goes_off_in_a_sentence(pipe: Any) -> None:
    plans: list[Any] = []
    studio = dpnb.attach(pipe)
    studio.strategies.enable(QKVFusion())
    studio.strategies.subscribe(plans.append)
    with pytest.raises(StrategyError, match="Nothing is switched on any more, and enable_freeu"):
        pipe.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
    assert plans == [frozenset()]
    other = pipeline("sd1")
    other.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
    assert torch.equal(draw(pipe), draw(other))


@pytest.mark.parametrize(
    "name", ["enable_model_cpu_offload", "enable_sequential_cpu_offload", "enable_group_offload"]
)
def test_offloading_of_diffusers_is_refused_with_what_there_is_in_its_place(
    pipe: Any, name: str
) -> None:
    plain, before = draw(pipe), everything_of(pipe)
    studio = dpnb.attach(pipe)
    with pytest.raises(AttachError, match=r"Offload\(\) on in place of " + name):
        getattr(pipe, name)(torch.device("cpu"))
    studio.detach()
    assert everything_of(pipe) == before
    assert torch.equal(draw(pipe), plain)


def test_a_pipeline_that_is_made_by_its_class_is_its_own(pipe: Any, tmp_path: Path) -> None:
    kind = type(pipe)
    studio = dpnb.attach(pipe)
    pipe.save_pretrained(tmp_path)
    made = (
        type(pipe)(**pipe.components, requires_safety_checker=False),
        type(pipe).from_pretrained(tmp_path),
        pipe.from_pipe(pipe),
    )
    for one in made:
        assert type(one) is kind
        assert dpnb.attach(one) is not studio


COPIES: tuple[Callable[[Any], Any], ...] = (
    copy.copy,
    copy.deepcopy,
    lambda pipe: pickle.loads(pickle.dumps(pipe)),
)


@pytest.mark.parametrize("plan", PLANS, ids=repr)
def test_a_copy_is_plain_whatever_is_on(pipe: Any, plan: tuple[Strategy, ...]) -> None:
    kind, plain, studio = type(pipe), draw(pipe), dpnb.attach(pipe)
    studio.strategies.use(plan)
    copies = [make(pipe) for make in COPIES]
    assert studio.strategies.active == frozenset(plan)
    studio.detach()
    for made in copies:
        assert type(made) is kind
        assert type(made.unet) is diffusers.UNet2DConditionModel
        assert torch.equal(draw(made), plain)


@pytest.mark.parametrize("make", COPIES[1:])
def test_a_copy_that_is_made_in_the_middle_of_a_run_is_plain(
    pipe: Any, make: Callable[[Any], Any]
) -> None:
    plain, studio = draw(pipe), dpnb.attach(pipe)
    for _ in studio.stream(**arguments()):
        made = make(pipe)
        assert torch.equal(draw(made), plain)
        assert {"step", "set_timesteps"}.isdisjoint(vars(made.scheduler))
        assert not made.unet._forward_pre_hooks


class Twice(diffusers.StableDiffusionPipeline):  # type: ignore[misc]
    """A pipeline that draws a draft by itself first."""

    is_draft = False

    def __call__(self, **given: Any) -> Any:
        """Draw, twice."""
        if not self.is_draft:
            self.is_draft = True
            self(**{**given, "num_inference_steps": 2})
            self.is_draft = False
        return super().__call__(**given)


def test_a_pipeline_that_calls_itself_is_in_one_run(pipe: Any) -> None:
    made = Twice(**pipe.components, requires_safety_checker=False)
    made.set_progress_bar_config(disable=True)
    plain, studio = draw(made), dpnb.attach(made)
    studio.strategies.enable(SequentialOffload(device=SIMULATED))
    with dpnb.record(made) as heard:
        assert torch.equal(draw(made), plain)
    assert len(heard.runs) == 1


def test_what_is_switched_in_inference_mode_may_be_trained_afterwards(pipe: Any) -> None:
    studio = dpnb.attach(pipe)
    before = {name: p.requires_grad for name, p in pipe.unet.named_parameters()}
    for strategy in (ChannelsLast(), LayerwiseCasting("bfloat16"), QKVFusion()):
        with torch.inference_mode():
            studio.strategies.use([strategy])
            draw(pipe)
            studio.strategies.use([])
    assert {name: p.requires_grad for name, p in pipe.unet.named_parameters()} == before
    assert not any(p.is_inference() for p in pipe.unet.parameters())


def test_who_computes_with_exchanged_networks_is_told_to_attach(pipe: Any) -> None:
    other = copy.copy(pipe)
    plain, studio = draw(pipe), dpnb.attach(pipe)
    studio.strategies.enable(QKVFusion())
    with pytest.raises(StrategyError, match="attach this pipeline as well"):
        draw(other)
    dpnb.attach(other)
    assert torch.equal(draw(other), draw(pipe))
    studio.strategies.use(())
    assert torch.equal(draw(other), plain)


@dataclass(frozen=True)
class Frozen:
    """A pipeline whose attributes stay as they are, and have names of its own."""

    _network: Any
    _leader: Any

    def __call__(self) -> Tensor:
        """Denoise."""
        latents = torch.ones(1, 4, 8, 8)
        words = torch.ones(1, 4, self._network.config.cross_attention_dim)
        self._leader.set_timesteps(2)
        with torch.no_grad():
            for moment in self._leader.timesteps:
                noise = self._network(latents, moment, words).sample
                latents = self._leader.step(noise, moment, latents).prev_sample
        return latents


def test_a_pipeline_of_frozen_attributes_is_attached(pipe: Any) -> None:
    made = Frozen(pipe.unet, pipe.scheduler)
    plain, studio = made(), dpnb.attach(made)
    studio.strategies.enable(SequentialOffload(device=SIMULATED))
    assert torch.equal(made(), plain)
    assert studio.scheduler is pipe.scheduler
    studio.detach()
    assert type(made) is Frozen
    assert torch.equal(made(), plain)


class Final(Twice):
    """A pipeline from which nothing may be derived."""

    def __init_subclass__(cls) -> None:
        raise TypeError("it is final")


def test_a_class_from_which_nothing_may_be_derived_is_refused(pipe: Any) -> None:
    made = Final(**pipe.components, requires_safety_checker=False)
    with pytest.raises(AttachError, match=r"no class be derived from it \(it is final\)"):
        dpnb.attach(made)
    assert type(made) is Final
    assert "dpnb_attachment" not in vars(pipe.unet)


def test_a_detached_instrument_draws_no_more_and_is_renewed(pipe: Any) -> None:
    studio = dpnb.attach(pipe)
    studio.detach()
    with pytest.raises(AttachError, match=r"was detached; attach it again"):
        studio.stream(**arguments())
    again = dpnb.attach(studio)
    assert again is not studio
    assert again is dpnb.attach(pipe)
