from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from dpnb import FluxTransformer2DModel
from dpnb.metering.tensors import TensorMeter
from dpnb.nn.rotary import rotary_table
from dpnb.pipelines.shapes.architectures import ARCHITECTURES
from dpnb.strategies.offload.blocks import split_into_blocks

TINY = dict(ARCHITECTURES["tiny-flux"].transformer)


def network(**changes: Any) -> FluxTransformer2DModel:
    torch.manual_seed(0)
    return FluxTransformer2DModel(**{**TINY, **changes}).eval()


def inputs(batch: int = 2) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "hidden_states": torch.randn(batch, 12, 16, generator=generator),
        "encoder_hidden_states": torch.randn(batch, 5, 24, generator=generator),
        "pooled_projections": torch.randn(batch, 32, generator=generator),
        "timestep": torch.tensor(0.6),
        "guidance": torch.tensor([3.5]),
        "img_ids": torch.randint(0, 5, (12, 3), generator=generator).float(),
        "txt_ids": torch.zeros(5, 3),
    }


@pytest.mark.parametrize("batch", [1, 2])
def test_gradients_are_the_same_as_without_work_in_place(batch: int) -> None:
    transformer = network()
    recorded = transformer(**inputs(batch)).sample
    recorded.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in transformer.parameters())
    with torch.no_grad():
        torch.testing.assert_close(transformer(**inputs(batch)).sample, recorded)


@pytest.mark.parametrize("batch", [1, 2])
def test_a_call_leaves_its_arguments_alone_and_nothing_behind(batch: int) -> None:
    transformer, given = network(), inputs(batch)
    kept = {name: value.clone() for name, value in given.items()}
    with torch.no_grad(), TensorMeter() as meter:
        out = transformer(**given).sample
        assert meter.current == out.nbytes
    assert all(torch.equal(given[name], value) for name, value in kept.items())


def test_residuals_go_after_blocks() -> None:
    transformer, given = network(num_layers=3, num_single_layers=2), inputs()
    dim = transformer.config.inner_dim
    joint, single = (
        [torch.randn(2, 12, dim, generator=torch.Generator().manual_seed(seed + i)) for i in (0, 1)]
        for seed in (5, 7)
    )

    def predict(joint: list[Tensor], single: list[Tensor], **options: Any) -> Tensor:
        with torch.no_grad():
            sample: Tensor = transformer(
                **given,
                controlnet_block_samples=joint,
                controlnet_single_block_samples=single,
                **options,
            ).sample
        return sample

    shared = predict(joint, single)
    assert torch.equal(shared, predict([joint[0], joint[0], joint[1]], single))
    in_turn = predict(joint, single, controlnet_blocks_repeat=True)
    assert torch.equal(in_turn, predict([joint[0], joint[1], joint[0]], single))
    assert not torch.equal(shared, in_turn)
    plain = predict([], [])
    assert not torch.equal(predict(joint, []), plain)
    assert not torch.equal(predict([], single), plain)
    torch.testing.assert_close(
        transformer(
            **given, controlnet_block_samples=joint, controlnet_single_block_samples=single
        ).sample,
        shared,
    )


def test_many_tokens_go_through_the_wide_layers_in_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    transformer, given = network(), inputs()
    with torch.no_grad():
        whole = transformer(**given).sample
        monkeypatch.setattr("dpnb.nn.transformer.LEAST_ROWS", 3)
        torch.testing.assert_close(transformer(**given).sample, whole)


def test_a_table_of_positions_may_be_made_beforehand() -> None:
    transformer, given = network(), inputs()
    ids = torch.cat((given["txt_ids"], given["img_ids"]))
    with torch.no_grad():
        expected = transformer(**given).sample
        batched = {name: ids.unsqueeze(0) for name, ids in given.items() if name.endswith("ids")}
        assert torch.equal(transformer(**given | batched).sample, expected)
        del given["txt_ids"], given["img_ids"]
        table = rotary_table(ids, TINY["axes_dims_rope"])
        assert torch.equal(transformer(**given, rotary=table).sample, expected)
        with pytest.raises(ValueError, match="positions are missing; give img_ids and txt_ids"):
            transformer(**given)


def test_a_guidance_scale_is_needed_where_the_network_takes_one() -> None:
    given: dict[str, Any] = inputs() | {"guidance": None}
    with pytest.raises(ValueError, match="was distilled with guidance; give guidance"):
        network()(**given)
    plain = network(guidance_embeds=False)
    with torch.no_grad():
        assert torch.equal(plain(**given).sample, plain(**inputs()).sample)


def test_settings_that_fit_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="sum is attention_head_dim, 16"):
        network(axes_dims_rope=(4, 4, 4))
    with pytest.raises(ValueError, match="even numbers"):
        network(axes_dims_rope=(5, 5, 6))
    with pytest.raises(
        ValueError, match=r"asks for scale, control: .* part of the network.* dpnb\.LoRA"
    ):
        network()(**inputs(), joint_attention_kwargs={"scale": 0.5, "control": 1})
    assert type(network()(**inputs(), return_dict=False)) is tuple


def test_infinities_of_float16_are_bounded() -> None:
    transformer = network().to(torch.float16)
    blocks: Any = transformer.single_transformer_blocks
    torch.nn.init.constant_(blocks[0].proj_out.bias, 60000.0)
    torch.nn.init.constant_(blocks[0].norm.linear.bias, 3.0)
    given = {name: value.to(torch.float16) for name, value in inputs().items()}
    with torch.no_grad():
        assert transformer(**given).sample.isfinite().all()
    assert transformer(**given).sample.isfinite().all()


def test_a_block_is_brought_in_as_a_whole() -> None:
    names = [name for name, _ in split_into_blocks(network())]
    assert "transformer_blocks.0" in names
    assert {"single_transformer_blocks.0", "single_transformer_blocks.1"} <= set(names)
    assert not [name for name in names if ".attn" in name or ".ff" in name]


def test_its_switches_reach_its_strategies() -> None:
    from dpnb.strategies.attention import AttentionSlicing
    from dpnb.strategies.projection import QKVFusion
    from dpnb.strategies.stack import stack_of

    transformer = network()
    stack = stack_of(transformer, "transformer")
    keys = list(transformer.state_dict())
    transformer.fuse_qkv_projections()
    transformer.set_attention_slice("max")
    assert stack.active == {QKVFusion(unet=True, vae=False), AttentionSlicing("max")}
    assert "transformer_blocks.0.attn.to_added_qkv.weight" in transformer.state_dict()
    transformer.unfuse_qkv_projections()
    transformer.set_attention_slice(None)
    assert not stack.active
    assert list(transformer.state_dict()) == keys
