"""Small pipelines of HunyuanVideo, and of what was made of it."""

from __future__ import annotations

from typing import Any

from tests.reference.checkpoints import diffusers, transformers
from tests.reference.foreign.case import ForeignCase
from tests.reference.foreign.parts_video import (
    DECODER,
    WIDTH,
    Arguments,
    ask,
    ask_for_film,
    bytes_tokenizer,
    clip,
    euler,
    make_case,
    picture,
    siglip,
    t5,
)

TRANSFORMER: dict[str, Any] = {
    "in_channels": 4,
    "out_channels": 4,
    "num_attention_heads": 2,
    "attention_head_dim": 10,
    "num_layers": 1,
    "num_single_layers": 1,
    "num_refiner_layers": 1,
    "patch_size": 1,
    "text_embed_dim": WIDTH,
    "pooled_projection_dim": 24,
    "rope_axes_dim": (2, 4, 4),
}
TEMPLATE = {"template": "A film of {}", "crop_start": 10}
LOOKING = {
    "template": "A<|end_header_id|><image>look<|end_header_id|>\n{}<|end_header_id|>\n\n",
    "crop_start": 9,
    "image_emb_start": 2,
    "image_emb_end": 6,
    "image_emb_len": 4,
}


def _vae() -> Any:
    return diffusers.AutoencoderKLHunyuanVideo(
        latent_channels=4,
        down_block_types=("HunyuanVideoDownBlock3D",) * 4,
        up_block_types=("HunyuanVideoUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=4,
    )


def _texts() -> dict[str, Any]:
    encoder, tokenizer = clip()
    return {
        "text_encoder": transformers.LlamaModel(transformers.LlamaConfig(**DECODER)),
        "tokenizer": bytes_tokenizer(),
        "text_encoder_2": encoder,
        "tokenizer_2": tokenizer,
    }


def _parts(**changes: Any) -> Arguments:
    def make() -> dict[str, Any]:
        transformer = diffusers.HunyuanVideoTransformer3DModel(**{**TRANSFORMER, **changes})
        scheduler = euler(shift=7.0)
        return {**_texts(), "transformer": transformer, "vae": _vae(), "scheduler": scheduler}

    return make


def _llava() -> Any:
    vision = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "projection_dim": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 16,
        "patch_size": 8,
    }
    config = transformers.LlavaConfig(
        text_config=transformers.LlamaConfig(**DECODER),
        vision_config=transformers.CLIPVisionConfig(**vision),
        image_token_index=260,
        pad_token_id=0,
        image_seq_length=4,
    )
    return transformers.LlavaForConditionalGeneration(config)


def _seeing(kind: str, **changes: Any) -> Arguments:
    parts = _parts(image_condition_type=kind, **changes)

    def make() -> dict[str, Any]:
        size = {"height": 16, "width": 16}
        prepare = transformers.CLIPImageProcessor(size=size, crop_size=size)
        tokenizer = bytes_tokenizer("<image>", "<|end_header_id|>")
        seeing = {"text_encoder": _llava(), "image_processor": prepare, "tokenizer": tokenizer}
        return {**parts(), **seeing}

    return make


def _packed() -> dict[str, Any]:
    transformer = diffusers.HunyuanVideoFramepackTransformer3DModel(
        **{**TRANSFORMER, "patch_size": 2},
        has_image_proj=True,
        image_proj_dim=WIDTH,
        has_clean_x_embedder=True,
    )
    return {**_parts()(), **siglip(), "transformer": transformer}


def _qwen() -> dict[str, Any]:
    config = transformers.Qwen2_5_VLTextConfig(
        **DECODER,
        rope_parameters={
            "rope_type": "default",
            "mrope_section": [1, 1, 2],
            "rope_theta": 10000.0,
        },
    )
    tokenizer = bytes_tokenizer()
    tokenizer.chat_template = (
        "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    )
    return {"text_encoder": transformers.Qwen2_5_VLTextModel(config), "tokenizer": tokenizer}


def _newer(task: str) -> dict[str, Any]:
    letters = t5()
    guider = diffusers.ClassifierFreeGuidance(guidance_scale=3.0)
    return {
        **_qwen(),
        "text_encoder_2": letters["text_encoder"],
        "tokenizer_2": transformers.ByT5Tokenizer(extra_ids=0),
        "transformer": _newer_transformer(task),
        "vae": _newer_vae(),
        "scheduler": euler(shift=7.0),
        "guider": guider,
    }


def _newer_transformer(task: str) -> Any:
    return diffusers.HunyuanVideo15Transformer3DModel(
        in_channels=9,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=2,
        num_refiner_layers=1,
        text_embed_dim=WIDTH,
        text_embed_2_dim=WIDTH,
        image_embed_dim=WIDTH,
        rope_axes_dim=(4, 4, 8),
        target_size=32,
        task_type=task,
    )


def _newer_vae() -> Any:
    return diffusers.AutoencoderKLHunyuanVideo15(
        latent_channels=4, block_out_channels=(8, 8, 8, 8, 8), layers_per_block=1
    )


def _ask(**more: Any) -> Arguments:
    settings = {"max_sequence_length": 24, "prompt_template": TEMPLATE}
    return lambda: ask_for_film(**{**settings, **more})


def _ask_over_picture(**more: Any) -> Arguments:
    return lambda: _ask(image=picture(), **more)()


WORDS = 'a red fox, and the word "fox"'
"""What is in quotes is read letter by letter, by the second text encoder."""


def _ask_newer(**more: Any) -> dict[str, Any]:
    return ask(prompt=WORDS, num_frames=5, **more)


CASES: tuple[ForeignCase, ...] = (
    make_case("HunyuanVideoPipeline", _parts(), _ask()),
    make_case("HunyuanVideoPipeline (negative prompt)", _parts(), _ask(true_cfg_scale=3.0)),
    make_case(
        "HunyuanVideoImageToVideoPipeline",
        _seeing("latent_concat", in_channels=9),
        _ask_over_picture(prompt_template=LOOKING, num_frames=9),
    ),
    make_case(
        "HunyuanVideoImageToVideoPipeline (token replaced)",
        _seeing("token_replace"),
        _ask_over_picture(prompt_template=LOOKING),
    ),
    make_case("HunyuanSkyreelsImageToVideoPipeline", _parts(in_channels=8), _ask_over_picture()),
    make_case("HunyuanVideoFramepackPipeline", _packed, _ask_over_picture(latent_window_size=2)),
    make_case(
        "HunyuanVideo15Pipeline", lambda: _newer("t2v"), lambda: _ask_newer(height=32, width=32)
    ),
    make_case(
        "HunyuanVideo15ImageToVideoPipeline",
        lambda: {**_newer("i2v"), **siglip()},
        lambda: _ask_newer(image=picture()),
    ),
)
