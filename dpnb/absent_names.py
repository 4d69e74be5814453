"""What scripts import from elsewhere and this package has not, with the way that leads there."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection

ATTACH = "a pipeline of diffusers that has it gets the whole instrument by dpnb.attach(pipe)"

KINDS: tuple[tuple[str, str], ...] = (
    (
        r"\w*Onnx\w*",
        "dpnb runs PyTorch weights alone; load the PyTorch form of the model",
    ),
    (
        r"\w*(Blocks|Modular\w*|ComponentSpec|ComponentsManager|ConfigSpec|InputParam|OutputParam)",
        "pipelines are whole classes here; build the modular pipeline with diffusers, and attach "
        "the pipeline that it stands for",
    ),
    (
        r"\w*(Watermarker|Watermark)",
        "mark the pictures that a run returns, or set pipe.watermark to an object whose "
        "apply_watermark marks tensors",
    ),
    (
        r"AttnProcsLayers|LoRACompatible\w+|LoRA(Linear|Conv2d)Layer|PatchedLora\w+",
        "train low-rank weights by network.add_adapter(peft.LoraConfig(...)), and read or write "
        "them by load_lora_weights and save_lora_weights",
    ),
    (
        r"_set_state_dict_into_text_encoder",
        "call peft.set_peft_model_state_dict(text_encoder, weights), their names without prefix",
    ),
    (
        r"(load|encode)_video",
        "read and write single frames, a list of PIL pictures; dpnb.utils has load_image and "
        "export_to_gif",
    ),
    (
        r"\w*Pipeline\w*",
        "attach the pipeline that diffusers makes of it, "
        "dpnb.attach(diffusers.{name}.from_pretrained(...))",
    ),
    (
        r"\w*Scheduler\w*",
        "use one of dpnb.schedulers, which pipe.scheduler may be set to, or attach a pipeline of "
        "diffusers that has it, dpnb.attach(pipe)",
    ),
    (
        r"(apply_)?(\w*Cache|\w*cache|PyramidAttentionBroadcast|pyramid_attention_broadcast|"
        r"SmoothedEnergyGuidance|LayerSkip|layer_skip)(Config|Mixin)?",
        "dpnb.StepCache keeps what a network has computed for later steps, and "
        "network.enable_cache(dpnb.FirstBlockCacheConfig(...)) is a form of it; for others, "
        f"{ATTACH}, cache and all",
    ),
    (
        r"\w*(Attention|Attn|GEGLU|GELU|SwiGLU|FeedForward|TransformerBlock|Ada\w*Norm\w*|RMSNorm|"
        r"ResnetBlock\w*|Upsample\dD|Downsample\dD|MidBlock\w*|VectorQuantizer|"
        r"GaussianFourierProjection|PatchEmbed|EncoderTiny|DecoderTiny|get_activation)|"
        r"(Flux|Lumina)PosEmbed|get_\dd_\w*pos_embed\w*|apply_rotary_emb|"
        r"Encoder|Decoder|PixArt\w+Projection",
        "networks build their layers themselves; build one that has it from its settings, or take "
        "layers of one's own from torch or diffusers, beside networks of dpnb",
    ),
    (
        r"(Quanto|GGUF|AutoRound|BFL|NVIDIAModelOpt|Nunchaku|SDNQ)\w*|\w*Quantiz\w*",
        'load with quantization_config="int8" or another of dpnb.Quantization, with '
        "dpnb.BitsAndBytesConfig or dpnb.TorchAoConfig, or quantize with diffusers and attach the "
        "pipeline, dpnb.attach(pipe)",
    ),
    (
        r"(Context|Tensor)?ParallelConfig",
        "networks are divided among devices by dpnb.DeviceMap",
    ),
    (r"\w*Guid(ance|er)\w*", f"guidance belongs to pipelines here; {ATTACH}"),
    (
        r"(attention_backend|AttentionBackendName)",
        'call network.set_attention_backend("_native_flash"), or compute within '
        '`with pipe.strategies.using(dpnb.AttentionKernel("flash")):`',
    ),
    (
        r"\w*(ImageProcessor|VideoProcessor|MaskProcessor)\w*",
        "pictures go through dpnb.VaeImageProcessor",
    ),
    (
        r"(is_\w+_(available|version)|requires_backends|DummyObject|Optional\w+)",
        "ask importlib.util.find_spec whether a package is there",
    ),
    (
        r"SlicedAttn\w*Processor\w*",
        "call network.set_attention_slice(...), which computes attention over a few heads at a "
        "time",
    ),
    (
        r"\w*Attn\w*Processor\w*",
        f"layers of attention have kernels here, network.attn_processors names them; {ATTACH}",
    ),
    (
        r"apply_(layerwise_casting|group_offloading)",
        "call network.enable_layerwise_casting(...) or pipe.enable_group_offload(...)",
    ),
    (
        r"convert_\w+",
        "save_lora_weights of a pipeline's class writes low-rank weights, and load_lora_weights "
        "reads them, by whichever names",
    ),
    (r"(HookRegistry|ModelHook)", "use a module's register_forward_hook"),
    (r"\w*(Mixin)", "derive from dpnb.DiffusionPipeline, or from a class of dpnb.models"),
    (
        r"\w*(Model|Transformer|Autoencoder|VAE|Vae|UNet|ControlNet|Adapter|Encoder|Decoder|"
        r"Vocoder|Tokenizer|Detokenizer|Embedder|Conditioner|Projection|Refiner|Upsampler|Motion|"
        r"Upscaler|Prior|EnhancerHead|Mel|MidiProcessor|CosmosActionCondition)\w*",
        f"it is a part of pipelines that dpnb does not write out; {ATTACH}",
    ),
)
"""For names of a form, what there is in their place."""


NEAR = 0.9
"""How alike names are, of at most 1, of which one may be the other misspelt."""


def explain_absence(name: str, known: Collection[str]) -> str | None:
    """Why this package has no `name`, and what to use; `None` where the name says nothing.

    Args:
        name: that was asked for.
        known: the names that there are, of which one may be meant.
    """
    found = (reason for form, reason in KINDS if re.fullmatch(form, name))
    reason = next(found, None)
    if reason is None:
        return None
    near = difflib.get_close_matches(name, known, n=1, cutoff=NEAR)
    hint = f" Its nearest name is {near[0]}." if near else ""
    return f"dpnb has no {name}: {reason.format(name=name)}.{hint}"
