"""Placements and obstacles on pipelines whose networks dpnb did not write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import ControlNetModel, MultiControlNetModel
from diffusers.utils.torch_utils import get_module_execution_device
from torch import Tensor, nn
from transformers import (
    CLIPConfig,
    CLIPModel,
    GPT2Config,
    GPT2LMHeadModel,
    T5Config,
    T5EncoderModel,
)

import dpnb
from dpnb.strategies.catalog import CATALOG
from dpnb.strategies.conditioning import ConditioningCache
from dpnb.strategies.device_map import DeviceMap
from dpnb.strategies.execution_device import tell_execution_device
from dpnb.strategies.freeu import FreeU
from dpnb.strategies.guidance_interval import GuidanceInterval
from dpnb.strategies.lora import LoRA
from dpnb.strategies.networks import networks_of
from dpnb.strategies.offload.calls import public_methods_of
from dpnb.strategies.perturbed_attention import PerturbedAttention
from dpnb.strategies.placement import ModelOffload, SequentialOffload
from dpnb.strategies.projection import QKVFusion
from dpnb.strategies.stack import StrategyStack
from dpnb.strategies.step_cache import StepCache
from dpnb.strategies.strategy import Strategy
from dpnb.strategies.token_merging import TokenMerging
from dpnb.strategies.undo import Undo
from dpnb.strategies.vae import VaeSlicing, VaeTiling
from tests.strategies.foreign_owner import (
    LINK,
    STUDIOS,
    Parts,
    PartsStack,
    Studio,
    autoencoder,
    clip,
    noise,
    randomize,
    unet,
)
from tests.strategies.pipes import TINY

PLACEMENTS: list[Strategy] = [
    ModelOffload(LINK),
    SequentialOffload(device=LINK),
    SequentialOffload("4MiB", LINK),
    DeviceMap("disk"),
    DeviceMap("cpu"),
]


@pytest.fixture(params=STUDIOS)
def studio(request: pytest.FixtureRequest) -> Studio:
    return STUDIOS[request.param]()


@pytest.mark.parametrize("placement", PLACEMENTS, ids=repr)
def test_a_foreign_pipeline_draws_from_anywhere(studio: Studio, placement: Strategy) -> None:
    before, plain = studio.values(), studio.draw()
    attributes = [vars(network).keys() for network in studio.networks.values()]
    with studio.strategies.using(placement):
        assert torch.equal(studio.draw(), plain)
        assert torch.equal(studio.draw(), plain)
    assert torch.equal(studio.draw(), plain)
    assert all(torch.equal(value, before[key]) for key, value in studio.values().items())
    assert [vars(network).keys() for network in studio.networks.values()] == attributes


def test_a_part_of_a_foreign_network_waits_on_the_disk() -> None:
    studio = STUDIOS["FLUX"]()
    plain = studio.draw()
    part = "transformer.single_transformer_blocks.1"
    with studio.strategies.using(DeviceMap(((part, "disk"),))):
        assert next(studio.pipe.transformer.single_transformer_blocks[1].parameters()).is_meta
        assert torch.equal(studio.draw(), plain)
    assert torch.equal(studio.draw(), plain)


NOT_FOR_OTHERS: list[Strategy] = [
    QKVFusion(),
    FreeU(),
    VaeTiling(),
    VaeSlicing(),
    ConditioningCache(),
    TINY,
]


@pytest.mark.parametrize("strategy", NOT_FOR_OTHERS, ids=repr)
def test_what_needs_networks_of_dpnb_says_whose_these_are(
    studio: Studio, strategy: Strategy
) -> None:
    reason = studio.strategies.obstacle(strategy)
    assert reason is not None
    kind = type(studio.pipe.vae).__name__
    assert f" of dpnb's, and vae is {kind} of diffusers, " in reason
    assert reason.endswith("or load the model as a pipeline of dpnb's where there is one.")


def test_every_other_switch_is_offered(studio: Studio) -> None:
    others = {type(strategy) for strategy in NOT_FOR_OTHERS} | {
        LoRA,
        PerturbedAttention,
        GuidanceInterval,
        StepCache,
        TokenMerging,
    }
    for kind in set(CATALOG) - others:
        needs_device = kind in (ModelOffload, SequentialOffload)
        strategy = kind(device=LINK) if needs_device else kind()  # type: ignore[call-arg]
        assert studio.strategies.obstacle(strategy) is None, kind


# --- components in lists ---


def controlnet(seed: int) -> Any:
    network = ControlNetModel(
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=4,
        norm_num_groups=8,
        conditioning_embedding_out_channels=(8, 8),
    )
    return randomize(network, seed)


def call_controlnet(network: Any) -> Tensor:
    with torch.no_grad():
        picture = noise(1, 3, 32, 32, seed=4)
        _, made = network(noise(1, 4, 16, 16), 1, noise(1, 8, 32), picture, 1.0, return_dict=False)
    found: Tensor = made
    return found


@pytest.mark.parametrize("kind", [list, tuple, nn.ModuleList])
@pytest.mark.parametrize("placement", PLACEMENTS[:3], ids=repr)
def test_components_in_a_list_are_networks_each(kind: Any, placement: Strategy) -> None:
    nets = [controlnet(0), controlnet(1)]
    strategies = PartsStack(controlnet=kind(nets), unet=unet())
    names = [name for name, _ in strategies.networks.items()]
    assert names == ["controlnet[0]", "controlnet[1]", "unet"]
    assert [name for name, _ in strategies.networks.items("controlnet")] == names[:2]
    plain = [call_controlnet(net) for net in nets]
    with strategies.using(placement):
        assert {p.data_ptr() for net in nets for p in net.parameters()}
        assert len(strategies.networks.streamed) == 3
        assert all(map(torch.equal, map(call_controlnet, nets), plain))
    assert all(map(torch.equal, map(call_controlnet, nets), plain))


def test_a_list_takes_the_place_of_its_name() -> None:
    class Ordered(Parts):
        offload_sequence = ("unet", "controlnet", "vae")
        never_offloaded = ("vae",)

    owner = Ordered(vae=[autoencoder()], controlnet=[controlnet(0)], unet=unet())
    order = StrategyStack(owner).networks.offload_order()
    assert [name for name, _ in order] == ["unet", "controlnet[0]"]
    assert [name for name, _ in networks_of(owner)] == ["vae[0]", "controlnet[0]", "unet"]


def test_a_network_of_several_is_one() -> None:
    strategies = PartsStack(controlnet=MultiControlNetModel([controlnet(0), controlnet(1)]))
    assert [name for name, _ in strategies.networks.items()] == ["controlnet"]


# --- weights of two ---


@pytest.mark.parametrize("placement", PLACEMENTS[:3], ids=repr)
def test_components_may_share_weights(placement: Strategy) -> None:
    first, second = clip(), clip()
    second.embeddings = first.embeddings
    tokens = torch.arange(8)[None]

    def call() -> list[Tensor]:
        with torch.no_grad():
            return [encoder(tokens)[0] for encoder in (first, second, first)]

    strategies = PartsStack(text_encoder=first, text_encoder_2=second)
    plain, values = call(), first.state_dict()
    with strategies.using(placement):
        assert all(map(torch.equal, call(), plain))
    assert all(map(torch.equal, call(), plain))
    shared = second.embeddings.token_embedding.weight
    assert first.embeddings.token_embedding.weight is shared
    assert all(torch.equal(values[key], value) for key, value in first.state_dict().items())


def t5() -> Any:
    config = T5Config(vocab_size=2000, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)
    return randomize(T5EncoderModel(config))


def gpt() -> Any:
    config = GPT2Config(
        vocab_size=1000, n_positions=64, n_embd=64, n_layer=3, n_head=4, bos_token_id=0,
        eos_token_id=999, pad_token_id=0,
    )  # fmt: skip
    return randomize(GPT2LMHeadModel(config))


def clip_model() -> Any:
    text = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 2000}
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "image_size": 16}
    heads = {"num_attention_heads": 4}
    special = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    config = CLIPConfig(
        text_config=text | heads | special, vision_config=vision | heads | {"patch_size": 8}
    )
    return randomize(CLIPModel(config))


TOKENS = torch.arange(3, 11)[None]


def first_of(output: Any) -> Tensor:
    found: Tensor = output if isinstance(output, Tensor) else output[0]
    return found


METHODS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "tied embeddings": (t5, lambda network: network(TOKENS)),
    "generate": (
        gpt,
        lambda network: network.generate(
            TOKENS, attention_mask=torch.ones_like(TOKENS), max_new_tokens=5, do_sample=False
        ),
    ),
    "get_text_features": (clip_model, lambda network: network.get_text_features(TOKENS)),
    "get_image_features": (
        clip_model,
        lambda network: network.get_image_features(noise(1, 3, 16, 16)),
    ),
    "decode": (autoencoder, lambda network: network.decode(noise(1, 4, 8, 8))),
    "encode": (autoencoder, lambda network: network.encode(noise(1, 3, 16, 16))[0].mean),
    "tiled_decode": (autoencoder, lambda network: network.tiled_decode(noise(1, 4, 24, 24))),
}


@pytest.mark.parametrize("placement", PLACEMENTS[:4], ids=repr)
@pytest.mark.parametrize("name", METHODS)
def test_networks_are_called_by_any_method(name: str, placement: Strategy) -> None:
    build, call = METHODS[name]
    network = build()
    strategies = PartsStack(unet=network)
    with torch.no_grad():
        plain = first_of(call(network))
        with strategies.using(placement):
            assert torch.equal(first_of(call(network)), plain)
            with strategies.begin_run():
                assert torch.equal(first_of(call(network)), plain)
                assert torch.equal(first_of(call(network)), plain)
        assert torch.equal(first_of(call(network)), plain)


def test_all_ways_to_compute_are_methods() -> None:
    for build, names in {
        clip_model: {"forward", "get_text_features", "get_image_features"},
        gpt: {"forward", "generate"},
        autoencoder: {"forward", "encode", "decode", "tiled_decode", "tiled_encode"},
    }.items():
        found = set(public_methods_of(type(build())))
        assert names <= found
        assert not found & {"to", "save_pretrained", "from_pretrained", "parameters", "half"}


def test_what_a_pipeline_never_offloads_stays(studio: Studio) -> None:
    studio.pipe._exclude_from_cpu_offload = ["vae"]
    plain = studio.draw()
    with studio.strategies.using(SequentialOffload(device=LINK)):
        assert "vae" not in [name for name, _ in studio.strategies.networks.offload_order()]
        assert torch.equal(studio.draw(), plain)


@pytest.mark.parametrize("placement", PLACEMENTS[:4], ids=repr)
def test_whoever_asks_a_network_hears_where_it_computes(
    studio: Studio, placement: Strategy
) -> None:
    networks = studio.networks.values()
    studio.strategies.enable(placement)
    device = studio.strategies.execution_device
    assert {get_module_execution_device(network) for network in networks} == {device}
    studio.strategies.use([])
    assert not [network for network in networks if "_hf_hook" in vars(network)]


def test_a_network_whose_weights_are_on_the_disk_says_where_it_computes(studio: Studio) -> None:
    networks = list(studio.networks.values())
    kinds = [type(network) for network in networks]
    plain = studio.draw()
    studio.strategies.enable(DeviceMap("disk"))
    assert any(p.is_meta for network in networks for p in network.parameters())
    assert {network.device for network in networks} == {torch.device("cpu")}
    for network, kind in zip(networks, kinds, strict=True):
        assert isinstance(network, kind)
        assert type(network).__name__ == kind.__name__
        assert network.__reduce_ex__(4)[1][0] is kind
    assert torch.equal(studio.draw(), plain)
    studio.strategies.use([])
    assert [type(network) for network in networks] == kinds


def test_a_hook_of_accelerate_stays() -> None:
    network, hook = unet(), object()
    network._hf_hook = hook
    with Undo() as undo:
        tell_execution_device([network], torch.device("meta"), undo)
        assert network._hf_hook is hook
    assert network._hf_hook is hook


def test_pipelines_of_dpnb_need_not_be_told() -> None:
    pipe: Any = dpnb.random_pipeline("tiny-sd")
    with pipe.strategies.using(SequentialOffload(device=LINK)):
        assert "_hf_hook" not in vars(pipe.unet) | vars(pipe.text_encoder)
