"""A small pipeline that writes words, block by block: LLaDA 2."""

from __future__ import annotations

from tests.reference.foreign.parts_modern import (
    Parts,
    byte_tokenizer,
    decoder,
    diffusers,
    small_case,
)

NOT_BUILT: dict[str, str] = {
    "DiffusionGemmaPipeline": "gives the model's mask an argument that transformers does not take",
}
"""Why a class of this family has no case."""

BLOCK = 8


def _llada() -> Parts:
    """With the model of another family: its own is code that comes with its weights."""
    return {
        "model": decoder("Qwen3ForCausalLM", "Qwen3Config"),
        "scheduler": diffusers.BlockRefinementScheduler(block_length=BLOCK),
        "tokenizer": byte_tokenizer(mask_token="<|startoftext|>"),
    }


WORDS: Parts = {"prompt": "a red fox", "num_inference_steps": 2, "gen_length": 2 * BLOCK}

CASES = (small_case("LLaDA2Pipeline", _llada, **WORDS, block_length=BLOCK, max_post_steps=1),)
