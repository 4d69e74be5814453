from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import dpnb
from tests.strategies.pipes import build, draw


@pytest.fixture(scope="module")
def pipe() -> Any:
    return build("tiny-ldm")


def test_guidance_is_off_at_one_alone(pipe: Any) -> None:
    pipe.stream("a cat", guidance_scale=1.0)
    seen: dict[float, list[int]] = {}
    for scale in (1.0, 0.5, 3.0):
        calls = seen.setdefault(scale, [])
        handle = pipe.unet.register_forward_pre_hook(lambda _, given: calls.append(len(given[0])))  # noqa: B023
        draw(pipe, guidance_scale=scale)
        handle.remove()
    assert seen == {1.0: [1, 1], 0.5: [2, 2], 3.0: [2, 2]}


def test_a_negative_prompt_and_embeddings_are_taken(pipe: Any) -> None:
    plain = draw(pipe, guidance_scale=3.0)
    assert not torch.equal(draw(pipe, guidance_scale=3.0, negative_prompt="dull"), plain)
    tokens = pipe.tokenizer("a red fox", padding="max_length", max_length=20, return_tensors="pt")
    with torch.no_grad():
        embeds = pipe.bert(tokens.input_ids)[0]
    arguments: dict[str, Any] = {"num_inference_steps": 2, "output_type": "np"}
    generator = torch.Generator().manual_seed(0)
    image = pipe(prompt_embeds=embeds, guidance_scale=3.0, generator=generator, **arguments).images
    assert torch.equal(torch.from_numpy(image), plain)


def test_layers_of_its_text_encoder_cannot_be_left_out(pipe: Any) -> None:
    with pytest.raises(ValueError, match="clip_skip is for CLIP"):
        pipe.stream("a cat", clip_skip=1)


def test_its_switches_act_on_its_parts(pipe: Any) -> None:
    pipe.enable_vae_tiling()
    assert pipe.vae is pipe.vqvae
    assert type(pipe.vqvae.coder).__name__ == "TiledCoder"
    pipe.disable_vae_tiling()
    pipe.fuse_qkv_projections()
    assert "to_qkv" in dict(pipe.vqvae.decoder.mid_block.attentions[0].named_children())
    pipe.unfuse_qkv_projections()
    pipe.vqvae.fuse_qkv_projections()
    pipe.vqvae.unfuse_qkv_projections()
    assert pipe.strategies.active == frozenset()


def test_it_is_saved_as_its_checkpoints_are_named(pipe: Any, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["bert"] == ["latent_diffusion", "LDMBertModel"]
    assert (tmp_path / "bert" / "model.safetensors").is_file()
    again = dpnb.DiffusionPipeline.from_pretrained(tmp_path)
    again.set_progress_bar_config(disable=True)
    assert torch.equal(draw(again, guidance_scale=3.0), draw(pipe, guidance_scale=3.0))
    gc.collect()


def test_half_precision_stays_within_its_range() -> None:
    from dpnb.models.ldm_bert import LDMBertConfig, LDMBertModel

    config = LDMBertConfig(
        vocab_size=9, d_model=8, encoder_layers=1, encoder_ffn_dim=8, encoder_attention_heads=1
    )
    encoder: Any = LDMBertModel(config)
    encoder.to(torch.float16)
    with torch.no_grad():
        encoder.model.embed_tokens.weight.fill_(60000)
        encoder.model.layers[0].fc2.bias.fill_(60000)
        [before, _] = encoder(torch.zeros(1, 4, dtype=torch.long), output_hidden_states=True)[1]
        after = encoder.model.layers[0](before, None)
    assert torch.isfinite(after).all()
