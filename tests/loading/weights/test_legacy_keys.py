from __future__ import annotations

import pytest
import torch

from dpnb.loading.weights.legacy_keys import match_clip_keys, rename_legacy_keys

BLOCK = "encoder.mid_block.attentions.0"


def test_old_attention_becomes_projections_and_matrices() -> None:
    old = {
        f"{BLOCK}.{name}.{kind}": torch.randn(*((4, 4, 1, 1) if kind == "weight" else (4,)))
        for name in ("query", "key", "value", "proj_attn")
        for kind in ("weight", "bias")
    }
    new = rename_legacy_keys(old)
    assert [name.removeprefix(f"{BLOCK}.") for name in new] == [
        f"{name}.{kind}"
        for name in ("to_q", "to_k", "to_v", "to_out.0")
        for kind in ("weight", "bias")
    ]
    for tensor, renamed in zip(old.values(), new.values(), strict=True):
        assert torch.equal(tensor.flatten(), renamed.flatten())
        assert renamed.ndim == (2 if tensor.ndim == 4 else 1)
        assert renamed.data_ptr() == tensor.data_ptr()


def test_names_of_today_come_back_as_they_are() -> None:
    today = {
        f"{BLOCK}.to_q.weight": torch.randn(4, 4),
        f"{BLOCK}.group_norm.weight": torch.randn(4),
        "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight": torch.randn(4, 4),
        "conv_in.weight": torch.randn(4, 4, 1, 1),
        "key.weight": torch.randn(2),
    }
    renamed = rename_legacy_keys(today)
    assert renamed.keys() == today.keys()
    assert all(renamed[name] is tensor for name, tensor in today.items())
    assert rename_legacy_keys(renamed).keys() == renamed.keys()


@pytest.mark.parametrize(
    ("there", "here"),
    [
        ("text_model.encoder.a", "encoder.a"),
        ("encoder.a", "text_model.encoder.a"),
        ("vision_model.vision_model.b", "vision_model.b"),
        ("vision_model.b", "vision_model.vision_model.b"),
        ("vision_model.b", "b"),
        ("same", "same"),
    ],
)
def test_clips_towers_match_however_deep_they_are_nested(there: str, here: str) -> None:
    assert list(match_clip_keys({there: torch.zeros(1)}, {here, "other"})) == [here]


def test_position_ids_are_left_out_and_strangers_stay() -> None:
    state = {"text_model.embeddings.position_ids": torch.zeros(1), "stranger": torch.zeros(1)}
    assert list(match_clip_keys(state, {"encoder.a"})) == ["stranger"]
