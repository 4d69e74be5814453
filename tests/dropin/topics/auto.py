"""The pipeline of a task, and pipelines out of one another."""

SCRIPTS = {
    "auto: words to a picture": """
import torch
from diffusers import AutoPipelineForText2Image
pipe = AutoPipelineForText2Image.from_pretrained(SD, torch_dtype=torch.float32)
image = pipe("a cat", num_inference_steps=2, generator=torch.manual_seed(0)).images[0]
result = [type(pipe), image]
""",
    "auto: Stable Diffusion 2": """
import torch
from diffusers import AutoPipelineForText2Image
pipe = AutoPipelineForText2Image.from_pretrained(SD2)
image = pipe("a cat", num_inference_steps=2, generator=torch.manual_seed(0)).images[0]
result = [type(pipe), image]
""",
    "auto: FLUX": """
import torch
from diffusers import AutoPipelineForText2Image
pipe = AutoPipelineForText2Image.from_pretrained(FLUX)
result = type(pipe)
""",
    "auto: a picture to a picture": """
import torch
from PIL import Image
from diffusers import AutoPipelineForImage2Image
pipe = AutoPipelineForImage2Image.from_pretrained(SD, safety_checker=None)
image = pipe("a cat", image=Image.open(PICTURE), strength=0.6, num_inference_steps=4,
             generator=torch.manual_seed(0)).images[0]
result = [type(pipe), image]
""",
    "auto: inpainting": """
import torch
from PIL import Image
from diffusers import AutoPipelineForInpainting
pipe = AutoPipelineForInpainting.from_pretrained(XL)
image = pipe("a cat", image=Image.open(PICTURE), mask_image=Image.open(MASK), strength=0.7,
             num_inference_steps=4, height=32, width=32, generator=torch.manual_seed(0)).images[0]
result = [type(pipe), image]
""",
    "auto: one pipeline for three tasks": """
import torch
from diffusers import (AutoPipelineForImage2Image, AutoPipelineForInpainting,
                       AutoPipelineForText2Image)
words = AutoPipelineForText2Image.from_pretrained(SD)
picture = AutoPipelineForImage2Image.from_pipe(words)
mask = AutoPipelineForInpainting.from_pipe(picture)
back = AutoPipelineForText2Image.from_pipe(mask)
result = [type(picture), type(mask), type(back), picture.unet is words.unet, back.vae is words.vae]
""",
    "auto: without a safety checker": """
from diffusers import AutoPipelineForImage2Image, AutoPipelineForText2Image
pipe = AutoPipelineForText2Image.from_pretrained(SD, safety_checker=None)
edit = AutoPipelineForImage2Image.from_pipe(pipe, safety_checker=None)
result = [edit.safety_checker, edit.config["requires_safety_checker"]]
""",
    "auto: another scheduler is kept": """
from diffusers import (AutoPipelineForImage2Image, AutoPipelineForText2Image,
                       DPMSolverMultistepScheduler)
pipe = AutoPipelineForText2Image.from_pretrained(XL)
pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
edit = AutoPipelineForImage2Image.from_pipe(pipe)
result = [type(edit), type(edit.scheduler)]
""",
    "auto: components by name": """
from diffusers import AutoPipelineForText2Image, AutoencoderKL
vae = AutoencoderKL.from_pretrained(SD, subfolder="vae")
pipe = AutoPipelineForText2Image.from_pretrained(SD, vae=vae)
result = [pipe.vae is vae, sorted(pipe.components)]
""",
    "auto: a class that has no such task": """
from diffusers import AutoPipelineForInpainting
try:
    AutoPipelineForInpainting.from_pretrained(LDM)
    result = "loaded"
except ValueError:
    result = "refused"
""",
    "auto: none to build": """
from diffusers import AutoPipelineForText2Image
try:
    AutoPipelineForText2Image()
    result = "built"
except (OSError, TypeError):
    result = "refused"
""",
    "a pipeline out of another": """
import torch
from PIL import Image
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD)
edit = StableDiffusionImg2ImgPipeline(**pipe.components)
image = edit("a cat", Image.open(PICTURE), 0.5, 4, generator=torch.manual_seed(0)).images[0]
result = [image, edit.unet is pipe.unet]
""",
    "XL: base and refiner": """
import torch
from diffusers import DiffusionPipeline, StableDiffusionXLImg2ImgPipeline
base = DiffusionPipeline.from_pretrained(XL)
refiner = StableDiffusionXLImg2ImgPipeline.from_pipe(base)
latents = base("a cat", num_inference_steps=5, denoising_end=0.6, output_type="latent",
               height=32, width=32, generator=torch.manual_seed(0)).images
result = refiner("a cat", image=latents, num_inference_steps=5, denoising_start=0.6,
                 generator=torch.manual_seed(1)).images[0]
""",
    "XL: sizes and crops": """
import torch
from diffusers import StableDiffusionXLPipeline
pipe = StableDiffusionXLPipeline.from_pretrained(XL)
result = pipe("a cat", negative_prompt="a dog", num_inference_steps=2, height=32, width=48,
              original_size=(64, 64), target_size=(32, 48), crops_coords_top_left=(4, 8),
              negative_original_size=(16, 16), negative_target_size=(32, 32),
              generator=torch.manual_seed(0), guidance_scale=4.0).images[0]
""",
    "a list of prompts and seeds": """
import torch
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD)
seeds = [torch.Generator().manual_seed(i) for i in range(3)]
result = pipe(["a cat", "a dog", "a bird"], num_inference_steps=2, generator=seeds).images
""",
}
