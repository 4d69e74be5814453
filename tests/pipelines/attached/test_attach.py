"""What cannot be attached is told so in one sentence."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

import dpnb
from dpnb import AttachError
from dpnb.pipelines.attached.attach import to_explorable
from dpnb.pipelines.attached.attached_pipeline import AttachedPipeline


class ModularPipeline:
    """What is built of blocks."""

    def __call__(self) -> None:
        """Draw."""


def test_a_class_is_refused(pipe: Any) -> None:
    with pytest.raises(AttachError, match="is a class"):
        dpnb.attach(type(pipe))


@pytest.mark.parametrize("thing", [None, 3, "owner/repo", nn.Linear(1, 1), {}])
def test_what_is_no_pipeline_is_refused(thing: Any) -> None:
    with pytest.raises(AttachError, match="is no pipeline"):
        dpnb.attach(thing)


def test_a_modular_pipeline_is_refused() -> None:
    with pytest.raises(AttachError, match="modular"):
        dpnb.attach(ModularPipeline())


class Blocks:
    """Blocks of a modular pipeline, which are no pipeline yet."""


class ModularPipelineBlocks(Blocks):
    """The class of blocks."""


def test_modular_blocks_are_refused() -> None:
    with pytest.raises(AttachError, match="modular"):
        dpnb.attach(ModularPipelineBlocks())


class Wrapper:
    """What somebody has put around a pipeline."""

    def __init__(self, pipe: Any) -> None:
        self.inner = pipe

    def __call__(self) -> None:
        """Draw."""


def test_a_wrapper_is_refused_with_the_name_of_what_it_wraps(pipe: Any) -> None:
    with pytest.raises(AttachError, match=r"StableDiffusionPipeline that it has as \.inner"):
        dpnb.attach(Wrapper(pipe))


def test_a_name_is_refused_with_the_call_that_loads_it(tmp_path: Any) -> None:
    for name in ("owner/repo", tmp_path):
        with pytest.raises(AttachError, match="from_pretrained returns for it"):
            dpnb.attach(name)


def test_one_whose_weights_have_no_values_is_refused(pipe: Any) -> None:
    pipe.unet.to("meta")
    with pytest.raises(AttachError, match=r"Weights of unet .* on the meta device"):
        dpnb.attach(pipe)


class Unled:
    """A pipeline that takes no scheduler."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def __call__(self) -> None:
        """Draw."""


def test_one_that_takes_no_scheduler_is_not_told_to_set_one() -> None:
    with pytest.raises(AttachError, match="followed; leave it as it is"):
        dpnb.attach(Unled(nn.Linear(1, 1)))


def test_hooks_deep_in_a_network_are_named_with_the_call_that_removes_them(pipe: Any) -> None:
    from accelerate.hooks import ModelHook, add_hook_to_module, remove_hook_from_module

    add_hook_to_module(pipe.unet.mid_block, ModelHook())
    with pytest.raises(AttachError, match=r"remove_hook_from_module\(pipe\.unet, True\)"):
        dpnb.attach(pipe)
    remove_hook_from_module(pipe.unet, True)
    assert isinstance(dpnb.attach(pipe), AttachedPipeline)


def test_one_of_our_own_is_refused() -> None:
    pipe = dpnb.random_pipeline("tiny-sd")
    with pytest.raises(AttachError, match="needs no attaching"):
        dpnb.attach(pipe)
    assert to_explorable(pipe) is pipe


def test_one_without_a_scheduler_is_refused(pipe: Any) -> None:
    pipe.scheduler = None
    with pytest.raises(AttachError, match="no scheduler"):
        dpnb.attach(pipe)


def test_one_that_accelerate_offloads_is_refused_with_the_call_that_ends_it(pipe: Any) -> None:
    from accelerate.hooks import ModelHook, add_hook_to_module

    add_hook_to_module(pipe.unet, ModelHook())
    with pytest.raises(AttachError, match=r"remove_all_hooks\(\)"):
        dpnb.attach(pipe)
    pipe.remove_all_hooks()
    assert isinstance(to_explorable(pipe), AttachedPipeline)


def test_one_that_diffusers_casts_is_refused(pipe: Any) -> None:
    import torch

    pipe.unet.enable_layerwise_casting(torch.float8_e4m3fn, torch.float32)
    with pytest.raises(AttachError, match="layerwise_casting"):
        dpnb.attach(pipe)


def test_one_that_shares_offloaded_networks_is_attached(pipe: Any) -> None:
    import diffusers

    other = diffusers.StableDiffusionImg2ImgPipeline(**pipe.components)
    studio = dpnb.attach(pipe)
    studio.strategies.enable(dpnb.SequentialOffload(device="simulated:8GiB/s"))
    assert dpnb.attach(other).strategies.active == studio.strategies.active


class Bare(dpnb.DiffusionPipeline):
    """A pipeline of dpnb's kind with a loop of its own."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.register_modules(unet=unet)

    def __call__(self) -> None:
        """Draw."""


@pytest.mark.parametrize("use", [dpnb.dashboard, dpnb.StrategyPanel, dpnb.record, dpnb.sweep])
def test_one_of_our_kind_with_a_loop_of_its_own_is_refused(use: Any) -> None:
    with pytest.raises(AttachError, match="draws in a loop of its own"):
        use(Bare(nn.Linear(1, 1)))
