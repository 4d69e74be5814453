"""Latents that are drawn at twice their size."""

_LOAD = """
import torch
from PIL import Image
from diffusers import (EulerDiscreteScheduler, StableDiffusionLatentUpscalePipeline,
                       StableDiffusionPipeline, UNet2DConditionModel)
parts = StableDiffusionPipeline.from_pretrained(SD).components
for name in ("safety_checker", "feature_extractor", "image_encoder", "unet", "scheduler"):
    parts.pop(name)
width = parts["text_encoder"].config.hidden_size
torch.manual_seed(1)
unet = UNet2DConditionModel(
    act_fn="gelu", attention_head_dim=8, norm_num_groups=None, block_out_channels=[32, 32, 64, 64],
    time_cond_proj_dim=128 + width, conv_in_kernel=1, conv_out_kernel=1, cross_attention_dim=width,
    down_block_types=("KDownBlock2D", *["KCrossAttnDownBlock2D"] * 3), in_channels=8,
    layers_per_block=1, mid_block_type=None, only_cross_attention=False, out_channels=5,
    resnet_time_scale_shift="scale_shift", time_embedding_type="fourier", timestep_post_act="gelu",
    up_block_types=(*["KCrossAttnUpBlock2D"] * 3, "KUpBlock2D")).eval()
pipe = StableDiffusionLatentUpscalePipeline(
    **parts, unet=unet, scheduler=EulerDiscreteScheduler(prediction_type="sample"))
low = torch.randn(1, 4, 16, 16, generator=torch.manual_seed(2))
def draw(**given):
    return pipe("a cat", **{"image": low, "num_inference_steps": 3, "output_type": "np",
                            "generator": torch.manual_seed(0), **given}).images
"""

SCRIPTS = {
    "latent upscale: latents": _LOAD + "result = draw()",
    "latent upscale: a picture": _LOAD + 'result = draw(image=Image.open(PICTURE).convert("RGB"))',
    "latent upscale: unguided": _LOAD + "result = draw(guidance_scale=1.0)",
    "latent upscale: without words": _LOAD + "result = draw(guidance_scale=0)",
    "latent upscale: two prompts": _LOAD
    + """
result = pipe(["a cat", "a dog"], image=torch.cat([low, -low]), negative_prompt=["dark", "blue"],
              num_inference_steps=2, output_type="np", generator=torch.manual_seed(0)).images
""",
    "latent upscale: embeddings": _LOAD
    + """
given, negative, pooled, negative_pooled = pipe.encode_prompt("a cat", "cpu", True, "dark")
result = pipe(prompt_embeds=given, negative_prompt_embeds=negative, pooled_prompt_embeds=pooled,
              negative_pooled_prompt_embeds=negative_pooled, image=low, num_inference_steps=2,
              output_type="latent", generator=torch.manual_seed(0)).images
""",
    "latent upscale: saved and loaded": _LOAD
    + """
pipe.save_pretrained(HERE)
pipe = StableDiffusionLatentUpscalePipeline.from_pretrained(HERE)
result = draw(output_type="latent")
""",
    "latent upscale: the network alone": _LOAD
    + """
with torch.no_grad():
    result = unet(torch.ones(2, 8, 16, 16), 0.3, torch.ones(2, 5, width),
                  timestep_cond=torch.ones(2, 128 + width)).sample
""",
}
