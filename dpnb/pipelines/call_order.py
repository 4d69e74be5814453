"""The order of a call's arguments, as other packages' pipelines have it."""

from __future__ import annotations

from dpnb.pipelines.checked_inputs import EMBEDS, POOLED_EMBEDS

COUNTS = ("num_images_per_prompt", "eta", "generator")

GIVEN = (*COUNTS, "latents", *EMBEDS)

XL_GIVEN = (*GIVEN, *POOLED_EMBEDS)

FLUX_GIVEN = (
    "num_images_per_prompt",
    "generator",
    "latents",
    "prompt_embeds",
    "pooled_prompt_embeds",
)
"""What follows the steps and the guidance, and stands before prompts that are pictures."""

OUTPUT = ("output_type", "return_dict")

FORMER_CALLBACK = ("callback", "callback_steps")

STEP_CALLBACK = ("callback_on_step_end", "callback_on_step_end_tensor_inputs")

SIZES = ("original_size", "crops_coords_top_left", "target_size")

KEYWORDS = (
    "negative_prompt_embeds",
    "negative_pooled_prompt_embeds",
    *OUTPUT,
    *FORMER_CALLBACK,
    "joint_attention_kwargs",
    "cross_attention_kwargs",
    "guidance_rescale",
    *SIZES,
    *(f"negative_{name}" for name in SIZES),
    "aesthetic_score",
    "negative_aesthetic_score",
    "clip_skip",
    *STEP_CALLBACK,
    "pag_scale",
    "pag_adaptive_scale",
    "max_sequence_length",
    "max_area",
    "_auto_resize",
)
"""What is given by its name alone; what is not listed comes last."""
