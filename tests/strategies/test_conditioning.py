from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dpnb.nn.attention import Attention
from dpnb.strategies.conditioning import CachedProjection, ConditioningCache
from tests.strategies.pipes import build, draw

pytestmark = pytest.mark.exhaustive


@pytest.fixture(params=["tiny-sd", "tiny-sdxl"])
def pipe(request: pytest.FixtureRequest) -> Any:
    return build(request.param)


@pytest.fixture(scope="module")
def flux() -> Any:
    return build("tiny-flux")


def calls(pipe: Any, **arguments: Any) -> dict[str, int]:
    """How often each layer of the denoising network computes in one picture."""
    network = pipe.components["transformer" if "transformer" in pipe.components else "unet"]
    layers = {n: layer for n, layer in network.named_modules() if isinstance(layer, nn.Linear)}
    counts = dict.fromkeys(layers, 0)

    def count(name: str) -> None:
        counts[name] += 1

    handles = [
        layer.register_forward_pre_hook(lambda *_, name=name: count(name))
        for name, layer in layers.items()
    ]
    try:
        draw(pipe, **arguments)
    finally:
        for handle in handles:
            handle.remove()
    return counts


def cross_attention(pipe: Any) -> list[str]:
    """The names of the layers that look at the prompt."""
    return [
        name
        for name, module in pipe.unet.named_modules()
        if isinstance(module, Attention) and module.is_cross_attention
    ]


def test_what_depends_on_the_prompt_alone_is_computed_once(pipe: Any) -> None:
    pipe.strategies.enable(ConditioningCache())
    counts = calls(pipe, steps=4)
    assert cross_attention(pipe)
    for name in cross_attention(pipe):
        assert counts[f"{name}.to_q"] == 4
        assert counts[f"{name}.to_k"] == counts[f"{name}.to_v"] == 1


def test_what_acts_on_a_transformer_is_computed_before_its_first_step(flux: Any) -> None:
    """Once for each timestep, and for both prompts at a time; nothing else is computed less."""
    guided = {"negative_prompt": "dull", "true_cfg_scale": 2.0}
    with flux.strategies.using(ConditioningCache()):
        counts = calls(flux, steps=3, **guided)
    assert set(counts.values()) == {3}
    seen: list[int] = []
    linear = flux.transformer.transformer_blocks[0].norm1.linear
    handle = linear.register_forward_pre_hook(lambda *_: seen.append(1))
    stream = flux.stream("a cat", num_inference_steps=3, **guided)
    with flux.strategies.using(ConditioningCache()):
        next(stream)
        next(stream)
        assert len(seen) == 3
        list(stream)
    handle.remove()
    assert len(seen) == 3


@pytest.mark.parametrize("arguments", [{}, {"negative_prompt": "dull", "true_cfg_scale": 3.0}])
@pytest.mark.parametrize("pictures", [1, 2])
def test_the_picture_of_a_transformer_is_the_same_to_the_bit(
    flux: Any, arguments: dict[str, Any], pictures: int
) -> None:
    arguments = {**arguments, "num_images_per_prompt": pictures}
    plain = draw(flux, **arguments)
    with flux.strategies.using(ConditioningCache()):
        assert torch.equal(draw(flux, **arguments), plain)
        assert torch.equal(draw(flux, **arguments), plain), "a second run"


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("guidance", [1.0, 7.5])
@pytest.mark.parametrize("pictures", [1, 2])
def test_the_picture_is_the_same_to_the_bit(
    pipe: Any, steps: int, guidance: float, pictures: int
) -> None:
    arguments = {"guidance_scale": guidance, "num_images_per_prompt": pictures}
    plain = draw(pipe, steps=steps, **arguments)
    pipe.strategies.enable(ConditioningCache())
    assert torch.equal(draw(pipe, steps=steps, **arguments), plain)
    assert torch.equal(draw(pipe, steps=steps, **arguments), plain), "a second run"


def test_a_second_order_scheduler_visits_a_timestep_twice() -> None:
    import dpnb

    pipe = build("tiny-sd")
    pipe.scheduler = dpnb.HeunDiscreteScheduler.from_config(pipe.scheduler.config)
    plain = draw(pipe, steps=3)
    pipe.strategies.enable(ConditioningCache())
    assert torch.equal(draw(pipe, steps=3), plain)


def replace(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Another prompt."""
    return {"prompt_embeds": tensors["prompt_embeds"].flip(0)}


def overwrite(tensors: dict[str, Tensor]) -> None:
    """Another prompt, in the place of the first."""
    tensors["prompt_embeds"].mul_(0.5)


@pytest.mark.parametrize("change", [replace, overwrite])
def test_a_prompt_changed_between_two_steps_is_heard(pipe: Any, change: Any) -> None:
    def call(pipe: Any, index: int, t: Tensor, tensors: dict[str, Tensor]) -> Any:
        return change(tensors) if index == 0 else None

    arguments = {
        "callback_on_step_end": call,
        "callback_on_step_end_tensor_inputs": ["prompt_embeds"],
    }
    unchanged, changed = draw(pipe, steps=3), draw(pipe, steps=3, **arguments)
    assert not torch.equal(unchanged, changed)
    pipe.strategies.enable(ConditioningCache())
    assert torch.equal(draw(pipe, steps=3, **arguments), changed)


def test_it_can_come_and_go_between_two_steps(pipe: Any) -> None:
    plain = draw(pipe, steps=4)

    def call(pipe: Any, index: int, t: Tensor, tensors: dict[str, Tensor]) -> None:
        if index % 2 == 0:
            pipe.strategies.enable(ConditioningCache())
        else:
            pipe.strategies.disable(ConditioningCache)

    assert torch.equal(draw(pipe, steps=4, callback_on_step_end=call), plain)


def test_the_network_alone_is_the_same_too(pipe: Any) -> None:
    settings = pipe.unet.config
    torch.manual_seed(0)
    x = torch.randn(2, settings.in_channels, 8, 8)
    context = torch.randn(2, 7, settings.cross_attention_dim)
    added = None
    if settings.addition_embed_type is not None:
        width = (
            settings.projection_class_embeddings_input_dim - 6 * settings.addition_time_embed_dim
        )
        added = {"text_embeds": torch.randn(2, width), "time_ids": torch.ones(2, 6)}

    def predict(t: float) -> Tensor:
        predicted: Tensor = pipe.unet(x, t, context, added_cond_kwargs=added).sample
        return predicted.detach()

    plain = predict(10.0), predict(500.0)
    pipe.strategies.enable(ConditioningCache())
    with torch.no_grad():
        assert torch.equal(predict(10.0), plain[0])
        assert torch.equal(predict(500.0), plain[1])
    torch.testing.assert_close(predict(10.0), plain[0])


def test_nothing_is_kept_after_a_run(pipe: Any) -> None:
    pipe.strategies.enable(ConditioningCache())
    draw(pipe)
    attention = pipe.unet.get_submodule(cross_attention(pipe)[0])
    assert isinstance(attention.projection, CachedProjection)
    assert not attention.projection.cache.known
    with pytest.raises(ZeroDivisionError):
        draw(pipe, callback_on_step_end=lambda *_: 1 / 0)
    assert not attention.projection.cache.known


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "component", "least", "most"),
    [("sdxl", "unet", 0.12, 0.15), ("flux-dev", "transformer", 0.27, 0.28)],
)
def test_its_weights_are_a_known_share_of_the_network(
    name: str, component: str, least: float, most: float
) -> None:
    """An eighth at least of SDXL's UNet, a quarter of FLUX's, need not be on the device."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    from dpnb.loading.components.registry import resolve
    from dpnb.pipelines.shapes.architectures import ARCHITECTURES
    from dpnb.strategies.stack import stack_of

    class_name, settings = ARCHITECTURES[name].networks()[component]
    with FakeTensorMode():
        network = resolve("diffusers", class_name)(**settings)
        stack = stack_of(network, component)
        stack.enable(ConditioningCache())
        hosted = sum(p.nbytes for p in network.parameters() if stack.networks.is_hosted(p))
        whole = sum(p.nbytes for p in network.parameters())
        stack.use([])
    assert least < hosted / whole < most
