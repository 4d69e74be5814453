"""Stable Diffusion that sees the depth of a picture, or enlarges one."""

_DEPTH = """
import torch
from PIL import Image
from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessor
from diffusers import (AutoencoderKL, StableDiffusionDepth2ImgPipeline, StableDiffusionPipeline,
                       UNet2DConditionModel)
torch.manual_seed(1)
settings = dict(UNet2DConditionModel.load_config(SD, subfolder="unet"))
unet = UNet2DConditionModel.from_config({**settings, "in_channels": 5}).eval()
config = DPTConfig(image_size=32, patch_size=16, hidden_size=32, num_hidden_layers=4,
                   num_attention_heads=4, intermediate_size=37, backbone_out_indices=[0, 1, 2, 3],
                   neck_hidden_sizes=[8, 8, 16, 16], fusion_hidden_size=8, is_hybrid=False)
parts = StableDiffusionPipeline.from_pretrained(SD, unet=unet).components
for name in ("safety_checker", "feature_extractor", "image_encoder"):
    parts.pop(name)
pipe = StableDiffusionDepth2ImgPipeline(
    **parts, depth_estimator=DPTForDepthEstimation(config).eval(),
    feature_extractor=DPTImageProcessor(size={"height": 32, "width": 32}))
picture = Image.open(PICTURE).convert("RGB")
def draw(**given):
    return pipe("a cat", **{"image": picture, "num_inference_steps": 4, "output_type": "np",
                            "generator": torch.manual_seed(0), **given}).images
"""

_LARGE = """
import torch
from PIL import Image
from diffusers import (AutoencoderKL, DDPMScheduler, StableDiffusionPipeline,
                       StableDiffusionUpscalePipeline, UNet2DConditionModel)
torch.manual_seed(1)
settings = dict(UNet2DConditionModel.load_config(SD, subfolder="unet"))
levels = len(settings["block_out_channels"])
unet = UNet2DConditionModel.from_config(
    {**settings, "in_channels": 7, "num_class_embeds": 400,
     "only_cross_attention": [True, *[False] * (levels - 1)]}).eval()
parts = StableDiffusionPipeline.from_pretrained(SD, unet=unet).components
for name in ("safety_checker", "feature_extractor", "image_encoder"):
    parts.pop(name)
pipe = StableDiffusionUpscalePipeline(**parts, low_res_scheduler=DDPMScheduler())
picture = Image.open(PICTURE).convert("RGB")
def draw(**given):
    return pipe("a cat", **{"image": picture, "num_inference_steps": 3, "output_type": "np",
                            "generator": torch.manual_seed(0), **given}).images
"""

SCRIPTS = {
    "depth: estimated": _DEPTH + "result = draw()",
    "depth: given": _DEPTH
    + "result = draw(depth_map=torch.linspace(0, 9, 256).view(1, 16, 16), strength=0.5)",
    "depth: two pictures of one": _DEPTH + "result = draw(num_images_per_prompt=2)",
    "depth: unguided": _DEPTH + "result = draw(guidance_scale=1.0, strength=1.0)",
    "depth: as a tuple": _DEPTH
    + """
made = pipe("a cat", picture, None, 0.5, 3, 6.0, "dark", output_type="np", return_dict=False,
            generator=torch.manual_seed(0))
result = len(made), made[0]
""",
    "depth: seen by a callback": _DEPTH
    + """
seen = []
def end(pipe, index, t, tensors):
    seen.append(tensors["depth_mask"])
    return tensors
draw(callback_on_step_end=end, callback_on_step_end_tensor_inputs=["depth_mask"], strength=0.3)
result = seen
""",
    "depth: saved and loaded": _DEPTH
    + """
pipe.save_pretrained(HERE)
pipe = StableDiffusionDepth2ImgPipeline.from_pretrained(HERE)
result = draw()
""",
    "upscale: a picture": _LARGE + "result = draw()",
    "upscale: more noise": _LARGE + "result = draw(noise_level=200, guidance_scale=1.0)",
    "upscale: two pictures of one": _LARGE + "result = draw(num_images_per_prompt=2)",
    "upscale: one for each prompt": _LARGE
    + """
result = pipe(["a cat", "a dog"], image=[picture, picture.rotate(90)], num_inference_steps=2,
              negative_prompt=["dark", "bright"], output_type="np",
              generator=torch.manual_seed(0)).images
""",
    "upscale: an odd size": _LARGE + "result = draw(image=picture.resize((41, 27)))",
    "upscale: too much noise": _LARGE
    + """
try:
    draw(noise_level=351)
    result = "drawn"
except ValueError:
    result = "refused"
""",
    "upscale: saved and loaded": _LARGE
    + """
pipe.save_pretrained(HERE)
pipe = StableDiffusionUpscalePipeline.from_pretrained(HERE)
result = draw(output_type="latent"), pipe.vae.config.scaling_factor
""",
}
