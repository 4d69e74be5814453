"""What `check_inputs` of each kind of pipeline takes, in the order of other packages."""

from __future__ import annotations

from typing import TypeAlias

Names: TypeAlias = tuple[str, ...]

EMBEDS = ("prompt_embeds", "negative_prompt_embeds")
POOLED_EMBEDS = ("pooled_prompt_embeds", "negative_pooled_prompt_embeds")
PROMPTS = ("prompt", "prompt_2")
NEGATIVE_PROMPTS = ("negative_prompt", "negative_prompt_2")
PICTURES = ("image", "mask_image")
SIZE = ("height", "width")
TENSORS = "callback_on_step_end_tensor_inputs"
END = ("ip_adapter_image", "ip_adapter_image_embeds", TENSORS)
FLOW_END = (*NEGATIVE_PROMPTS, *EMBEDS, *POOLED_EMBEDS, TENSORS)

WORDS: Names = ("prompt", *SIZE, "callback_steps", "negative_prompt", *EMBEDS, *END)
PICTURE: Names = ("prompt", "strength", "callback_steps", "negative_prompt", *EMBEDS, *END)
PERTURBED_PICTURE: Names = ("prompt", "strength", "negative_prompt", *EMBEDS, *END)
INSTRUCTION: Names = ("prompt", "callback_steps", "negative_prompt", *EMBEDS, *END)
XL_INSTRUCTION: Names = ("prompt", "callback_steps", "negative_prompt", *EMBEDS, TENSORS)
DEPTH: Names = ("prompt", "strength", "callback_steps", "negative_prompt", *EMBEDS, TENSORS)
UPSCALE: Names = ("prompt", "image", "noise_level", "callback_steps", "negative_prompt", *EMBEDS)
LATENT_UPSCALE: Names = (
    "prompt",
    "image",
    "callback_steps",
    "negative_prompt",
    *EMBEDS,
    *POOLED_EMBEDS,
)
SELF_GUIDED: Names = (
    "prompt",
    *SIZE,
    "callback_steps",
    "negative_prompt",
    *EMBEDS,
    TENSORS,
)
MASK: Names = (
    "prompt",
    *PICTURES,
    *SIZE,
    "strength",
    "callback_steps",
    "output_type",
    "negative_prompt",
    *EMBEDS,
    *END,
    "padding_mask_crop",
)

XL_WORDS: Names = (
    *PROMPTS,
    *SIZE,
    "callback_steps",
    *NEGATIVE_PROMPTS,
    *EMBEDS,
    *POOLED_EMBEDS,
    *END,
)
XL_PICTURE: Names = (
    *PROMPTS,
    "strength",
    "num_inference_steps",
    "callback_steps",
    *NEGATIVE_PROMPTS,
    *EMBEDS,
    *END,
)
XL_MASK: Names = (
    *PROMPTS,
    *PICTURES,
    *SIZE,
    "strength",
    "callback_steps",
    "output_type",
    *NEGATIVE_PROMPTS,
    *EMBEDS,
    *END,
    "padding_mask_crop",
)

FLUX_WORDS: Names = (*PROMPTS, *SIZE, *FLOW_END, "max_sequence_length")
FLUX_PICTURE: Names = (*PROMPTS, "strength", *SIZE, *FLOW_END, "max_sequence_length")
FLUX_CONTROL: Names = (
    *PROMPTS,
    *SIZE,
    "prompt_embeds",
    "pooled_prompt_embeds",
    TENSORS,
    "max_sequence_length",
)
FLUX_FILL: Names = (
    *PROMPTS,
    "strength",
    *SIZE,
    "prompt_embeds",
    "pooled_prompt_embeds",
    TENSORS,
    "max_sequence_length",
    *PICTURES,
    "masked_image_latents",
)
FLUX_MASK: Names = (
    *PROMPTS,
    *PICTURES,
    "strength",
    *SIZE,
    "output_type",
    *FLOW_END,
    "padding_mask_crop",
    "max_sequence_length",
)

CONSISTENCY_WORDS: Names = ("prompt", *SIZE, "callback_steps", "prompt_embeds", *END)
CONSISTENCY_PICTURE: Names = ("prompt", "strength", "callback_steps", "prompt_embeds", *END)
