from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import dpnb
from dpnb import ModelOffload, SequentialOffload, plan_from_json, plan_to_json
from dpnb.errors import StrategyError
from dpnb.metering.tensors import TensorMeter
from dpnb.stages import Stage
from dpnb.strategies.attention import AttentionSlicing
from dpnb.strategies.conditioning import ConditioningCache
from dpnb.strategies.freeu import FreeU
from dpnb.strategies.offload.blocks import SMALL_TENSOR, tensors_of
from dpnb.strategies.offload.budget import compute_memory_range
from dpnb.strategies.placement import collect_streamed_networks
from dpnb.strategies.projection import QKVFusion
from dpnb.strategies.storage import ChannelsLast, LayerwiseCasting
from dpnb.strategies.strategy import Strategy
from tests.strategies.pictures import QUICK, STEPS, State, draw, emoji, networks, tensors, wide

pytestmark = pytest.mark.exhaustive

SEQUENTIAL = SequentialOffload(device=QUICK)
BUDGETED = SequentialOffload("9MiB", QUICK)
MODEL = ModelOffload(QUICK)
PLACEMENTS = [SEQUENTIAL, BUDGETED, MODEL]

every_placement = pytest.mark.parametrize("placement", PLACEMENTS, ids=str)


@pytest.fixture
def pipe() -> Iterator[Any]:
    pipe, before = emoji(), workers()
    yield pipe
    pipe.strategies.use([])
    assert set(workers()) <= {*before}


def workers() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "dpnb simulated link"]


def link_of(pipe: Any) -> Any:
    link = pipe.strategies.networks.link
    assert link is not None
    return link


def large(network: nn.Module) -> int:
    return sum(-(-t.nbytes // 512) * 512 for t in tensors_of(network) if t.nbytes >= SMALL_TENSOR)


def small(network: nn.Module) -> int:
    return sum(-(-t.nbytes // 512) * 512 for t in tensors_of(network) if t.nbytes < SMALL_TENSOR)


@pytest.mark.slow
@every_placement
@pytest.mark.parametrize(
    "make",
    [emoji, *(partial(wide, name) for name in ("tiny-sd", "tiny-sdxl", "tiny-flux"))],
    ids=["emoji", "sd", "sdxl", "flux"],
)
def test_the_picture_is_the_same_to_the_bit(make: Any, placement: Strategy) -> None:
    pipe = make()
    expected = draw(pipe)
    if placement is BUDGETED:
        least, most = compute_memory_range(collect_streamed_networks(pipe.strategies.networks, ()))
        placement = SequentialOffload((least + most) // 2, QUICK)
    pipe.strategies.enable(placement)
    for _ in range(2):
        assert np.array_equal(draw(pipe), expected)
    pipe.strategies.use([])
    assert np.array_equal(draw(pipe), expected)


@every_placement
def test_switching_off_brings_everything_back(pipe: Any, placement: Strategy) -> None:
    pipe.vae.to(memory_format=torch.channels_last)
    state = State.of(pipe)
    pipe.strategies.enable(placement)
    state_held = {name: id(tensor) for name, tensor in tensors(pipe).items()}
    assert state_held == {name: id(tensor) for name, tensor in state.objects.items()}
    draw(pipe)
    link = link_of(pipe)
    pipe.strategies.disable(type(placement))
    assert pipe.strategies.networks.link is None
    assert (link.held, link.pinned) == (0, 0)
    state.check(pipe)


@pytest.mark.slow
@every_placement
def test_live_bytes_are_the_same_after_switching_on_and_off(placement: Strategy) -> None:
    with TensorMeter() as meter:
        pipe = emoji()
        draw(pipe)
        unseen = sum(b.nbytes for b in pipe.text_encoder.buffers())  # made without torch
        before = meter.current
        for _ in range(2):
            pipe.strategies.enable(placement)
            draw(pipe)
            pipe.strategies.use([])
            gc.collect()
            assert meter.current == before + unseen


def test_sequential_offload_holds_two_units_and_the_small_tensors(pipe: Any) -> None:
    expected = sum(small(network) for network in networks(pipe).values())
    sizes = [w.nbytes for w in collect_streamed_networks(pipe.strategies.networks, ())[1].weights]
    pipe.strategies.enable(SEQUENTIAL)
    for _ in range(2):
        draw(pipe)
        assert link_of(pipe).peak <= expected + 2 * max(sizes)
        assert link_of(pipe).held == 0


def test_a_budget_is_kept_and_used(pipe: Any) -> None:
    budget = 9 << 20
    pipe.strategies.enable(BUDGETED)
    for _ in range(2):
        draw(pipe)
        assert budget - (1 << 20) < link_of(pipe).peak <= budget


def test_model_offload_holds_no_more_than_the_largest_network(pipe: Any) -> None:
    parts = networks(pipe).values()
    bound = max(map(large, parts)) + sum(map(small, parts))
    pipe.strategies.enable(MODEL)
    for _ in range(3):
        draw(pipe)
        assert link_of(pipe).peak <= bound
        assert link_of(pipe).held == 0


@pytest.mark.slow
@every_placement
def test_the_tensors_of_the_device_are_all_that_a_run_adds(pipe: Any, placement: Strategy) -> None:
    def peak() -> int:
        with TensorMeter() as meter:
            draw(pipe)
        return int(meter.peak)

    plain = peak()
    pipe.strategies.enable(placement)
    draw(pipe)
    assert plain < peak() <= plain + link_of(pipe).peak


@pytest.mark.slow
def test_a_run_moves_each_weight_as_often_as_it_is_needed(pipe: Any) -> None:
    parts = networks(pipe)
    decoder = [pipe.vae.decoder, pipe.vae.post_quant_conv]
    others = small(pipe.vae) + sum(map(large, decoder))
    others += large(pipe.text_encoder) + small(pipe.text_encoder) + small(pipe.unet)
    pipe.strategies.enable(SEQUENTIAL)
    for _ in range(2):
        before = link_of(pipe).moved
        draw(pipe)
        assert link_of(pipe).moved - before == others + STEPS * large(parts["unet"])
    pipe.strategies.enable(MODEL)
    for _ in range(3):
        before = link_of(pipe).moved
        draw(pipe)
        assert link_of(pipe).moved - before == others + large(parts["unet"])


def test_the_host_pins_exactly_what_it_holds(pipe: Any) -> None:
    pipe.strategies.enable(MODEL)
    parts = networks(pipe).values()
    assert link_of(pipe).pinned == sum(map(large, parts)) + sum(map(small, parts))


def test_the_last_step_makes_room_for_the_autoencoder(pipe: Any) -> None:
    pipe.strategies.enable(MODEL)
    draw(pipe)
    held = []
    for step in pipe.stream("a", num_inference_steps=2, output_type="np"):
        if step.stage is Stage.DENOISING:
            held.append(link_of(pipe).held)
            names = {w.name for w in copies_on_device(pipe)}
    assert held[0] >= large(pipe.unet)
    assert held[1] < large(pipe.unet) // 2
    assert names
    assert all(name.startswith("vae.decoder") for name in names)


def copies_on_device(pipe: Any) -> Any:
    (engine,) = pipe.strategies._shared.watchers
    return engine.memory.copies


@pytest.mark.slow
@every_placement
def test_outside_of_a_run_parameters_are_on_the_host(
    pipe: Any, placement: Strategy, tmp_path: Path
) -> None:
    expected = draw(pipe)
    pipe.strategies.enable(placement)

    def packed() -> bool:
        link = link_of(pipe)
        total = sum(t.nbytes for t in tensors(pipe).values())
        return bool(link.held == 0 and total <= link.pinned)

    draw(pipe)
    assert packed()
    latents = torch.randn(1, 4, 8, 8)
    with torch.no_grad():
        pipe.vae.decode(latents)
        assert packed()
        pipe.text_encoder(torch.zeros(1, 77, dtype=torch.long))
        assert packed()
    pipe.save_pretrained(tmp_path)
    loaded = dpnb.DiffusionPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    assert np.array_equal(draw(loaded), expected)
    assert pipe.strategies.active == {placement}


@every_placement
def test_methods_and_parts_are_called_as_before(pipe: Any, placement: Strategy) -> None:
    pictures = torch.rand(1, 3, 64, 64)
    ids = torch.arange(77).unsqueeze(0)

    def results() -> list[Tensor]:
        with torch.no_grad():
            moments = pipe.vae.encode(pictures).latent_dist.mode()
            return [
                moments,
                pipe.vae.decode(moments).sample,
                pipe.vae(pictures).sample,
                pipe.vae.decoder(moments),
                pipe.text_encoder(ids).last_hidden_state,
                pipe.encode_prompt("red apple", clip_skip=1)[0],
                pipe.unet(moments, 3, pipe.encode_prompt("a")[0]).sample,
            ]

    expected = results()
    pipe.strategies.enable(placement)
    for _ in range(2):
        assert all(torch.equal(a, b) for a, b in zip(results(), expected, strict=True))
        assert link_of(pipe).held == 0


@every_placement
def test_a_network_may_be_called_between_two_steps(pipe: Any, placement: Strategy) -> None:
    def preview(pipe: Any, index: int, t: Tensor, seen: dict[str, Tensor]) -> dict[str, Tensor]:
        pipe.vae.decode(seen["latents"])
        return seen

    expected = draw(pipe)
    pipe.strategies.enable(placement)
    for _ in range(2):
        assert np.array_equal(draw(pipe, callback_on_step_end=preview), expected)


@every_placement
def test_a_stream_that_is_left_and_an_interrupt_leave_nothing_behind(
    pipe: Any, placement: Strategy
) -> None:
    expected = draw(pipe)
    pipe.strategies.enable(placement)
    for step in pipe.stream("red apple", num_inference_steps=3):
        if step.stage is Stage.DENOISING:
            assert link_of(pipe).held > 0
            break
    del step
    gc.collect()
    assert link_of(pipe).held == 0

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    handle = pipe.unet.mid_block.register_forward_pre_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        draw(pipe)
    handle.remove()
    assert link_of(pipe).held == 0
    assert np.array_equal(draw(pipe), expected)


@pytest.mark.slow
@every_placement
def test_a_placement_may_change_between_two_steps(pipe: Any, placement: Strategy) -> None:
    state = State.of(pipe)
    expected = draw(pipe)
    plans: list[list[Strategy]] = [[placement], [], [MODEL], [SEQUENTIAL]]

    def change(pipe: Any, index: int, t: Tensor, seen: dict[str, Tensor]) -> dict[str, Tensor]:
        pipe.strategies.use(plans[index % 4])
        return seen

    for steps in (5, 3):
        pipe.strategies.use([])
        plain = draw(pipe, num_inference_steps=steps)
        assert np.array_equal(
            draw(pipe, num_inference_steps=steps, callback_on_step_end=change), plain
        )
    pipe.strategies.use([])
    assert np.array_equal(draw(pipe), expected)
    state.check(pipe)


@every_placement
def test_putting_away_in_the_middle_of_a_run_changes_nothing(
    pipe: Any, placement: Strategy
) -> None:
    def free(pipe: Any, index: int, t: Tensor, seen: dict[str, Tensor]) -> dict[str, Tensor]:
        pipe.maybe_free_model_hooks()
        assert link_of(pipe).held == 0
        return seen

    expected = draw(pipe)
    pipe.strategies.enable(placement)
    assert np.array_equal(draw(pipe, callback_on_step_end=free), expected)


@pytest.mark.slow
@every_placement
def test_weights_changed_by_hand_between_two_runs_count(pipe: Any, placement: Strategy) -> None:
    plain = emoji()
    pipe.strategies.enable(placement)
    draw(pipe)
    for one in (pipe, plain):
        one.unet.conv_in.weight.data.mul_(1.1)
        one.unet.mid_block.resnets[0].conv1.weight.data.mul_(0.9)
        weight = one.vae.decoder.conv_in.weight
        weight.data = weight.data * 1.2
        state = {k: v * 1.01 for k, v in one.text_encoder.state_dict().items()}
        one.text_encoder.load_state_dict(state)
    expected = draw(plain)
    assert np.array_equal(draw(pipe), expected)
    pipe.strategies.use([])
    assert np.array_equal(draw(pipe), expected)


OTHERS: list[Strategy] = [
    QKVFusion(),
    LayerwiseCasting("bfloat16"),
    ConditioningCache(),
    FreeU.sd15(),
    ChannelsLast(),
    AttentionSlicing("max"),
]


@pytest.mark.slow
@every_placement
@pytest.mark.parametrize("other", [*OTHERS, None], ids=str)
def test_it_goes_together_with(other: Strategy | None, placement: Strategy, pipe: Any) -> None:
    state = State.of(pipe)
    plan = OTHERS if other is None else [other]
    pipe.strategies.use(plan)
    expected = draw(pipe)
    pipe.strategies.enable(placement)
    for _ in range(2):
        assert np.array_equal(draw(pipe), expected)
    pipe.strategies.use(plan)
    assert np.array_equal(draw(pipe), expected)
    pipe.strategies.enable(placement)
    pipe.strategies.use([placement])
    pipe.strategies.use([])
    state.check(pipe)


@pytest.mark.slow
def test_casting_halves_what_streams(pipe: Any) -> None:
    pipe.strategies.enable(SEQUENTIAL)
    draw(pipe)
    full = link_of(pipe).moved
    pipe.strategies.enable(LayerwiseCasting())
    draw(pipe)
    assert link_of(pipe).moved < 0.4 * full


def test_what_the_conditioning_cache_keeps_does_not_stream(pipe: Any) -> None:
    pipe.strategies.enable(SEQUENTIAL)
    draw(pipe)
    full = link_of(pipe).moved
    pipe.strategies.enable(ConditioningCache())
    draw(pipe)
    assert link_of(pipe).moved < full


@pytest.mark.slow
@every_placement
def test_pipelines_that_share_networks_share_their_placement(
    pipe: Any, placement: Strategy
) -> None:
    expected = draw(pipe)
    twin: Any = dpnb.StableDiffusionPipeline.from_pipe(pipe)
    twin.set_progress_bar_config(disable=True)
    state = State.of(twin)
    pipe.strategies.enable(placement)
    assert twin.strategies.active == {placement}
    assert link_of(twin) is link_of(pipe)
    total = sum(map(large, networks(pipe).values())) + sum(map(small, networks(pipe).values()))
    assert link_of(pipe).pinned == total
    for one in (pipe, twin, pipe):
        assert np.array_equal(draw(one), expected)
    twin.strategies.use([])
    state.check(pipe)


@pytest.mark.slow
@every_placement
def test_a_component_that_is_replaced_is_offloaded_too(pipe: Any, placement: Strategy) -> None:
    other = emoji().unet
    other.conv_out.weight.data.mul_(0.5)
    plain = emoji()
    plain.unet = other
    expected = draw(plain)
    former, state = pipe.unet, State.of(pipe)
    pipe.strategies.enable(placement)
    plain.strategies.use([])
    del plain
    gc.collect()
    pipe.unet = other
    assert np.array_equal(draw(pipe), expected)
    pipe.unet = former
    pipe.strategies.use([])
    state.check(pipe)


@every_placement
def test_components_that_are_left_alone_stay_on_the_device(pipe: Any, placement: Any) -> None:
    from dataclasses import replace

    state = State.of(pipe)
    expected = draw(pipe)
    pipe.strategies.enable(replace(placement, exclude=("text_encoder",)))
    kept = large(pipe.text_encoder) + small(pipe.text_encoder)
    assert link_of(pipe).held == kept
    assert np.array_equal(draw(pipe), expected)
    assert link_of(pipe).held == kept
    pipe.text_encoder.final_layer_norm.weight.data.mul_(1.5)
    pipe.strategies.use([])
    pipe.text_encoder.final_layer_norm.weight.data.div_(1.5)
    state.check(pipe)


def test_unknown_components_cannot_be_excluded(pipe: Any) -> None:
    with pytest.raises(StrategyError, match="cannot exclude engine; there are text_encoder"):
        pipe.strategies.enable(SequentialOffload(device=QUICK, exclude=("engine",)))


def test_a_wide_autoencoder_in_half_precision_decodes_as_if_cast_as_a_whole() -> None:
    pipe: Any = dpnb.random_pipeline("tiny-sdxl", dtype=torch.float16)
    latents = torch.randn(1, 4, 16, 16).half()
    with torch.no_grad():
        made = pipe.decode_pictures(latents)
        whole = pipe.vae.float().decode(latents.float() / pipe.vae.config.scaling_factor).sample
        pipe.vae.half()
        assert torch.equal(made, whole)
        assert {p.dtype for p in pipe.vae.parameters()} == {torch.float16}
        for placement in PLACEMENTS[::2]:
            pipe.strategies.enable(placement)
            assert torch.equal(pipe.decode_pictures(latents), whole)
    pipe.strategies.use([])


@pytest.mark.slow
@every_placement
def test_moving_and_casting_take_effect_and_leave_the_placement_on(
    pipe: Any, placement: Strategy
) -> None:
    plain = emoji().to(torch.float64)
    expected = draw(plain)
    pipe.strategies.enable(placement)
    pipe.to(torch.float64)
    assert pipe.strategies.active == {placement}
    assert pipe.dtype == torch.float64
    assert np.array_equal(draw(pipe), expected)
    pipe.to("cpu", torch.float32)
    pipe.strategies.use([])
    assert pipe.dtype == torch.float32


def test_the_switches_of_diffusers_are_lines_over_strategies(pipe: Any) -> None:
    pipe.enable_model_cpu_offload(device=QUICK)
    assert pipe.strategies.active == {MODEL}
    pipe.enable_sequential_cpu_offload(device=QUICK, budget="9MiB")
    assert pipe.strategies.active == {BUDGETED}
    pipe.disable_model_cpu_offload()
    assert pipe.strategies.active == {BUDGETED}
    pipe.disable_sequential_cpu_offload()
    assert pipe.strategies.active == frozenset()
    pipe.enable_group_offload(QUICK, use_stream=True, exclude_modules="vae")
    assert pipe.strategies.active == {SequentialOffload(device=QUICK, exclude=("vae",))}
    pipe.disable_group_offload()
    assert pipe.strategies.active == frozenset()
    pipe.enable_attention_slicing()
    pipe.enable_model_cpu_offload(device=QUICK)
    pipe.remove_all_hooks()
    assert pipe.strategies.active == {AttentionSlicing()}


def test_contradictions_and_impossible_wishes_are_refused(pipe: Any) -> None:
    with pytest.raises(ValueError, match="gpu_id=1 and device='cuda:0' both say"):
        pipe.enable_model_cpu_offload(gpu_id=1, device="cuda:0")
    with pytest.raises(ValueError, match="both say"):
        pipe.enable_sequential_cpu_offload(gpu_id=0, device=torch.device("cuda", 0))
    with pytest.raises(StrategyError, match="Offloading to the CPU would move nothing"):
        pipe.enable_model_cpu_offload(device="cpu")
    with pytest.raises(ValueError, match="offload_type is 'tree'"):
        pipe.enable_group_offload(QUICK, offload_type="tree")
    with pytest.raises(ValueError, match="weights can wait on the cpu"):
        pipe.enable_group_offload(QUICK, offload_device="meta")
    with pytest.raises(ValueError, match="offload_to_disk_path is not supported"):
        pipe.enable_group_offload(QUICK, offload_to_disk_path="there")
    with pytest.raises(ValueError, match="is not a size"):
        SequentialOffload("much")
    with pytest.raises(ValueError, match="is not a device"):
        ModelOffload("warp")
    assert pipe.strategies.active == frozenset()


def test_weights_without_values_are_refused(pipe: Any) -> None:
    pipe.vae.to("meta")
    with pytest.raises(StrategyError, match="vae has tensors without values"):
        pipe.strategies.enable(MODEL)


@every_placement
def test_a_placement_survives_json(placement: Strategy) -> None:
    assert plan_from_json(plan_to_json([placement])) == {placement}
    assert "\n" not in type(placement).summary()


@pytest.mark.slow
@every_placement
def test_a_pipeline_that_is_dropped_takes_its_link_along(placement: Strategy) -> None:
    pipe, before = emoji(), set(workers())
    pipe.strategies.enable(placement)
    draw(pipe)
    (worker,) = set(workers()) - before
    del pipe
    gc.collect()
    worker.join(timeout=300)  # against hanging alone
    assert not worker.is_alive()


@every_placement
def test_a_failure_while_switching_on_leaves_no_trace(
    pipe: Any, placement: Strategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dpnb.strategies.offload import streamed_network as module

    state = State.of(pipe)

    def fail(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(module, "intercept", fail)
    with pytest.raises(MemoryError):
        pipe.strategies.enable(placement)
    assert pipe.strategies.active == frozenset()
    state.check(pipe)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", [SequentialOffload, ModelOffload])
@pytest.mark.parametrize("home", ["cpu", "cuda"])
def test_a_cuda_device_draws_the_same_in_less_memory(kind: Any, home: str) -> None:
    pipe = emoji().to("cuda")
    expected = draw(pipe)
    pipe.to(home)
    state = State.of(pipe)
    pipe.strategies.enable(kind(device="cuda"))
    assert pipe._execution_device.type == "cuda"
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    for _ in range(3):
        assert np.array_equal(draw(pipe), expected)
    link = link_of(pipe)
    assert link.pinned > 0
    assert link.held == 0
    assert torch.cuda.memory_allocated() - before < 1 << 20
    pipe.strategies.use([])
    state.check(pipe)
    assert {t.device.type for t in tensors(pipe).values()} == {home}


@pytest.mark.slow
def test_random_walks_end_where_they_began(pipe: Any) -> None:
    state = State.of(pipe)
    expected = draw(pipe)
    plans = chain.from_iterable([[[MODEL], [SEQUENTIAL, QKVFusion()], [BUDGETED]]] * 2)
    for plan in plans:
        pipe.strategies.use(plan)
        assert np.allclose(draw(pipe), expected, atol=1e-5)
    pipe.strategies.use([])
    state.check(pipe)
