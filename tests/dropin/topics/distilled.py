"""Latent consistency models: few steps."""

_LCM = """
import torch
from PIL import Image
from diffusers import (LatentConsistencyModelImg2ImgPipeline, LatentConsistencyModelPipeline,
                       LCMScheduler, UNet2DConditionModel)
settings = dict(UNet2DConditionModel.load_config(SD, subfolder="unet"))
torch.manual_seed(1)
unet = UNet2DConditionModel.from_config({**settings, "time_cond_proj_dim": 8}).eval()
parts = {"unet": unet, "scheduler": LCMScheduler(beta_schedule="scaled_linear", beta_start=0.00085,
                                                 beta_end=0.012)}
"""

_WORDS = (
    _LCM
    + """
pipe = LatentConsistencyModelPipeline.from_pretrained(SD, **parts)
def draw(**given):
    return pipe("a cat", **{"num_inference_steps": 4, "output_type": "np",
                            "generator": torch.manual_seed(0), **given}).images
"""
)

_PICTURE = (
    _LCM
    + """
pipe = LatentConsistencyModelImg2ImgPipeline.from_pretrained(SD, **parts)
picture = Image.open(PICTURE).convert("RGB")
def draw(**given):
    return pipe("a cat", **{"image": picture, "num_inference_steps": 4, "output_type": "np",
                            "generator": torch.manual_seed(0), **given}).images
"""
)

SCRIPTS = {
    "lcm: words": _WORDS + "result = draw()",
    "lcm: one step": _WORDS + "result = draw(num_inference_steps=1, guidance_scale=1.0)",
    "lcm: another schedule": _WORDS + "result = draw(original_inference_steps=100)",
    "lcm: timesteps of one's own": _WORDS + "result = draw(timesteps=[999, 759, 499, 259])",
    "lcm: several pictures": _WORDS
    + """
result = draw(num_images_per_prompt=2, guidance_scale=4.0,
              generator=[torch.Generator().manual_seed(i) for i in range(2)])
""",
    "lcm: by position": _WORDS
    + """
result = pipe("a cat", 32, 32, 3, None, None, 6.0, 1, torch.manual_seed(0), None, None,
              output_type="np").images
""",
    "lcm: callbacks": _WORDS
    + """
seen = []
def end(pipe, index, t, tensors):
    seen.append([index, int(t), sorted(tensors)])
    return tensors
draw(callback_on_step_end=end, callback_on_step_end_tensor_inputs=["latents", "prompt_embeds"])
result = seen
""",
    "lcm: a picture": _PICTURE + "result = draw(strength=0.5)",
    "lcm: strengths": _PICTURE + "result = [draw(strength=s) for s in (0.3, 0.8, 1.0)]",
    "lcm: a picture by position": _PICTURE
    + """
result = pipe("a cat", picture, 3, 0.7, None, None, 6.0, generator=torch.manual_seed(0),
              output_type="np").images
""",
    "lcm: saved": _WORDS
    + """
from diffusers import DiffusionPipeline
pipe.save_pretrained(HERE / "a")
again = DiffusionPipeline.from_pretrained(HERE / "a")
result = [type(again), again("a cat", num_inference_steps=2, generator=torch.manual_seed(0),
                             output_type="np").images]
""",
    "lcm: one pipeline out of another": _WORDS
    + """
from diffusers import AutoPipelineForImage2Image
edit = AutoPipelineForImage2Image.from_pipe(pipe)
result = [type(edit), edit.unet is pipe.unet]
""",
}
