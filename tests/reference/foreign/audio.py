"""Small pipelines that make sound."""

from __future__ import annotations

from typing import Any

from tokenizers import pre_tokenizers
from torch import Tensor, nn

from tests.reference.checkpoints import BETAS, diffusers, transformers
from tests.reference.foreign.case import ForeignCase
from tests.reference.foreign.parts_video import (
    DECODER,
    WIDTH,
    ask,
    bytes_tokenizer,
    euler,
    make_case,
    noise,
    t5,
)

MELS = 8
"""Bands of a spectrogram."""


def _ask(**more: Any) -> dict[str, Any]:
    return ask(prompt="a red fox", **more)


def _oobleck(channels: int, rate: int) -> Any:
    return diffusers.AutoencoderOobleck(
        encoder_hidden_size=8,
        downsampling_ratios=[2, 4],
        channel_multiples=[1, 2],
        decoder_channels=8,
        decoder_input_channels=channels,
        sampling_rate=rate,
    )


def _stable() -> dict[str, Any]:
    from diffusers.pipelines.stable_audio import StableAudioProjectionModel

    projection = StableAudioProjectionModel(
        text_encoder_dim=WIDTH, conditioning_dim=WIDTH, min_value=0, max_value=32
    )
    transformer = diffusers.StableAudioDiTModel(
        sample_size=32,
        in_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        num_key_value_attention_heads=1,
        out_channels=4,
        cross_attention_dim=WIDTH,
        time_proj_dim=16,
        global_states_input_dim=2 * WIDTH,
        cross_attention_input_dim=WIDTH,
    )
    scheduler = diffusers.EDMDPMSolverMultistepScheduler(
        solver_order=2, prediction_type="v_prediction", sigma_data=1.0, sigma_schedule="exponential"
    )
    return {
        **t5(length=32),
        "projection_model": projection,
        "transformer": transformer,
        "vae": _oobleck(4, 16),
        "scheduler": scheduler,
    }


def _roberta() -> Any:
    """A tokenizer of bytes, of the class that these pipelines look for."""
    marks = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "<mask>": 4}
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = marks | {letter: 5 + index for index, letter in enumerate(letters)}
    return transformers.RobertaTokenizer(vocab=vocabulary, merges=[], model_max_length=64)


def _clap_text() -> dict[str, Any]:
    return {
        "vocab_size": 300,
        "hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "projection_dim": WIDTH,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


def _clap() -> Any:
    audio = {
        "spec_size": 32,
        "window_size": 4,
        "num_mel_bins": 8,
        "depths": [1, 1],
        "num_attention_heads": [1, 2],
        "patch_embeds_hidden_size": 8,
        "hidden_size": 16,
        "patch_size": 2,
        "patch_stride": 2,
        "projection_dim": WIDTH,
        "num_hidden_layers": 2,
    }
    config = transformers.ClapConfig(
        text_config=_clap_text(), audio_config=audio, projection_dim=WIDTH
    )
    return transformers.ClapModel(config)


def _vocoder() -> Any:
    config = transformers.SpeechT5HifiGanConfig(
        model_in_dim=MELS,
        sampling_rate=1600,
        upsample_initial_channel=16,
        upsample_rates=[2, 2],
        upsample_kernel_sizes=[4, 4],
        resblock_kernel_sizes=[3, 5],
        resblock_dilation_sizes=[[1, 3], [1, 3]],
        normalize_before=False,
    )
    vocoder = transformers.SpeechT5HifiGan(config)
    for weight in vocoder.parameters():
        if weight.ndim > 1:
            nn.init.xavier_uniform_(weight)
    return vocoder


def _mel_vae() -> Any:
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        in_channels=1,
        out_channels=1,
        norm_num_groups=4,
    )


def _ldm(**changes: Any) -> dict[str, Any]:
    network = diffusers.UNet2DConditionModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=(8, 16),
        attention_head_dim=4,
        class_embed_type="simple_projection",
        projection_class_embeddings_input_dim=WIDTH,
        class_embeddings_concat=True,
    )
    encoder = transformers.ClapTextModelWithProjection(transformers.ClapTextConfig(**_clap_text()))
    return {
        "tokenizer": _roberta(),
        "text_encoder": encoder,
        "unet": network,
        "vae": _mel_vae(),
        "vocoder": _vocoder(),
        "scheduler": diffusers.DDIMScheduler(**BETAS, clip_sample=False),
        **changes,
    }


def _music() -> dict[str, Any]:
    return _ldm(text_encoder=_clap(), feature_extractor=_ears())


def _ask_for_music() -> dict[str, Any]:
    """Words that are encoded: what it does with its encoder is not what it does today."""
    embeds = {"prompt_embeds": noise(1, WIDTH), "negative_prompt_embeds": noise(1, WIDTH, seed=2)}
    return ask(audio_length_in_s=0.04, **embeds)


def _ears() -> Any:
    return transformers.ClapFeatureExtractor(feature_size=8, sampling_rate=1600)


def _second_ldm() -> dict[str, Any]:
    from diffusers.pipelines.audioldm2 import AudioLDM2ProjectionModel

    letters = t5()
    network = diffusers.AudioLDM2UNet2DConditionModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=([None, WIDTH, WIDTH], [None, WIDTH, WIDTH]),
        attention_head_dim=4,
    )
    speaker = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=300, n_embd=WIDTH, n_layer=2, n_head=4, n_positions=128, max_new_tokens=4
        )
    )
    projection = AudioLDM2ProjectionModel(
        text_encoder_dim=WIDTH, text_encoder_1_dim=WIDTH, langauge_model_dim=WIDTH
    )
    return _ldm(
        text_encoder=_clap(),
        feature_extractor=_ears(),
        text_encoder_2=letters["text_encoder"],
        tokenizer_2=letters["tokenizer"],
        language_model=speaker,
        projection_model=projection,
        unet=network,
    )


def _dance() -> dict[str, Any]:
    network = diffusers.UNet1DModel(
        block_out_channels=(32, 32, 64),
        extra_in_channels=64,
        sample_size=512,
        sample_rate=16_000,
        use_timestep_embedding=False,
    )
    return {"unet": network, "scheduler": diffusers.IPNDMScheduler()}


def _ask_to_dance() -> dict[str, Any]:
    arguments = ask(num_inference_steps=4)
    del arguments["output_type"]
    return arguments


ACE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "sliding_window": 8,
}


def _ace() -> dict[str, Any]:
    from diffusers.pipelines.ace_step import AceStepConditionEncoder

    condition_encoder = AceStepConditionEncoder(
        **ACE,
        text_hidden_dim=WIDTH,
        timbre_hidden_dim=8,
        num_lyric_encoder_hidden_layers=2,
        num_timbre_encoder_hidden_layers=2,
    )
    transformer = diffusers.AceStepTransformer1DModel(
        **ACE, num_hidden_layers=2, in_channels=24, audio_acoustic_hidden_dim=8
    )
    config = transformers.Qwen3Config(**DECODER, head_dim=8)
    return {
        "tokenizer": bytes_tokenizer(),
        "text_encoder": transformers.Qwen3Model(config),
        "condition_encoder": condition_encoder,
        "transformer": transformer,
        "vae": _oobleck(8, 160),
        "scheduler": euler(num_train_timesteps=1, shift=1.0),
    }


def _long_cat() -> dict[str, Any]:
    transformer = diffusers.LongCatAudioDiTTransformer(
        dit_dim=32, dit_depth=2, dit_heads=4, dit_text_dim=WIDTH, latent_dim=8
    )
    vae = diffusers.LongCatAudioDiTVae(
        channels=8,
        c_mults=[1, 2],
        strides=[2, 2],
        latent_dim=8,
        encoder_latent_dim=16,
        downsampling_ratio=4,
        sample_rate=160,
    )
    scheduler = euler(shift=1.0, invert_sigmas=True)
    return {**t5(umt5=True), "transformer": transformer, "vae": vae, "scheduler": scheduler}


def _third() -> dict[str, Any]:
    from diffusers.pipelines.stable_audio_3 import StableAudio3DurationEmbedder

    vae = diffusers.AutoencoderSAME(
        patch_size=4,
        encoder_channels=8,
        encoder_c_mults=(2,),
        encoder_strides=(4,),
        encoder_transformer_depths=(2,),
        latent_dim=8,
        dim_heads=8,
        sampling_rate=160,
    )
    transformer = diffusers.StableAudio3DiTModel(
        io_channels=8,
        embed_dim=32,
        depth=2,
        num_heads=4,
        cond_token_dim=WIDTH,
        global_cond_dim=WIDTH,
        local_add_cond_dim=9,
        timestep_features_dim=16,
        num_memory_tokens=4,
    )
    config = transformers.T5GemmaConfig(
        encoder={**DECODER, "head_dim": 8},
        decoder={**DECODER, "head_dim": 8, "cross_attention_hidden_size": WIDTH},
        is_encoder_decoder=False,
    )
    return {
        "text_encoder": transformers.T5GemmaEncoderModel(config),
        "tokenizer": bytes_tokenizer(),
        "duration_embedder": StableAudio3DurationEmbedder(output_dim=WIDTH, fourier_dim=16),
        "transformer": transformer,
        "vae": vae,
        "scheduler": euler(),
    }


def _ask_third(**more: Any) -> dict[str, Any]:
    return _ask(output_type="pt", duration=1.0, **more)


def _sound() -> Tensor:
    return noise(1, 2, 160).mul(0.5)


CASES: tuple[ForeignCase, ...] = (
    make_case("StableAudioPipeline", _stable, lambda: _ask(output_type="pt")),
    make_case("AudioLDMPipeline", _ldm, lambda: _ask(audio_length_in_s=0.04)),
    make_case("MusicLDMPipeline", _music, _ask_for_music),
    make_case(
        "AudioLDM2Pipeline", _second_ldm, lambda: _ask(audio_length_in_s=0.04, max_new_tokens=4)
    ),
    make_case("DanceDiffusionPipeline", _dance, _ask_to_dance),
    make_case("AceStepPipeline", _ace, lambda: _ask(lyrics="la la", audio_duration=1.0)),
    make_case("LongCatAudioDiTPipeline", _long_cat, lambda: _ask(audio_duration_s=0.5)),
    make_case("StableAudio3Pipeline", _third, _ask_third),
    make_case(
        "StableAudio3AudioToAudioPipeline",
        _third,
        lambda: _ask_third(audio=_sound(), init_noise_level=0.5),
    ),
    make_case(
        "StableAudio3InpaintPipeline",
        _third,
        lambda: _ask_third(audio=_sound(), mask_start_seconds=0.3, mask_end_seconds=0.8),
    ),
)
