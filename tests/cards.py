"""Model cards in the layouts that the hub has, by the names of their checkpoints."""

from __future__ import annotations

HEADER = "---\nlicense: apache-2.0\nlibrary_name: diffusers\n---\n\n# {}\n\nA model.\n\n"


def card(title: str, *blocks: str) -> str:
    """A card with these blocks of Python."""
    code = "\n\n".join(f"```python\n{block.strip()}\n```\n\nMore words." for block in blocks)
    return HEADER.format(title) + code


Z_IMAGE_TURBO = (
    HEADER.format("Z-Image-Turbo")
    + """
Install it:
```bash
pip install git+https://github.com/huggingface/diffusers
```

```python
import torch
from diffusers import ZImagePipeline

# 1. Load it
pipe = ZImagePipeline.from_pretrained(
    "Tongyi-MAI/Z-Image-Turbo",
    torch_dtype=torch.bfloat16,
    low_cpu_mem_usage=False,
)
pipe.to("cuda")

# pipe.transformer.compile()

prompt = "A lantern with \\"月\\" on it — 100% paper ```not a fence``` ⚡️"

# 2. Draw
image = pipe(
    prompt=prompt,
    height=1024,
    width=1024,
    num_inference_steps=9,  # eight passes
    guidance_scale=0.0,     # it was distilled
    generator=torch.Generator("cuda").manual_seed(7),
).images[0]

image.save("lantern.png")
```
"""
)

FLUX_SCHNELL = card(
    "FLUX.1 [schnell]",
    """
import torch
from diffusers import FluxPipeline

pipe = FluxPipeline.from_pretrained("black-forest-labs/FLUX.1-schnell", torch_dtype=torch.bfloat16)
pipe.enable_model_cpu_offload()

prompt = "A fox that reads"
image = pipe(
    prompt,
    guidance_scale=0.0,
    num_inference_steps=4,
    max_sequence_length=256,
    generator=torch.Generator("cpu").manual_seed(0)
).images[0]
""",
)

SDXL_TURBO = card(
    "SDXL-Turbo",
    """
from diffusers import AutoPipelineForText2Image
import torch

pipe = AutoPipelineForText2Image.from_pretrained("stabilityai/sdxl-turbo", variant="fp16")
pipe.to("cuda")
image = pipe(prompt="A fox in the snow", num_inference_steps=1, guidance_scale=0.0).images[0]
""",
    """
from diffusers import AutoPipelineForImage2Image
from diffusers.utils import load_image

pipe = AutoPipelineForImage2Image.from_pretrained("stabilityai/sdxl-turbo", variant="fp16")
init_image = load_image("fox.png").resize((512, 512))
image = pipe("a wolf", image=init_image, num_inference_steps=2, strength=0.5,
             guidance_scale=0.0).images[0]
""",
)

SD35_TURBO = card(
    "Stable Diffusion 3.5 Large Turbo",
    """
import torch
from diffusers import StableDiffusion3Pipeline

pipe = StableDiffusion3Pipeline.from_pretrained("stabilityai/stable-diffusion-3.5-large-turbo")
pipe = pipe.to("cuda")
pipe("A sign", num_inference_steps=4, guidance_scale=0.0).images[0].save("sign.png")
""",
    """
from diffusers import BitsAndBytesConfig, SD3Transformer2DModel, StableDiffusion3Pipeline

model_id = "stabilityai/stable-diffusion-3.5-large-turbo"
model_nf4 = SD3Transformer2DModel.from_pretrained(model_id, subfolder="transformer")
pipeline = StableDiffusion3Pipeline.from_pretrained(model_id, transformer=model_nf4)
image = pipeline(prompt="x", num_inference_steps=5, guidance_scale=0.0, max_sequence_length=512)
""",
)

QWEN_IMAGE = card(
    "Qwen-Image",
    """
from diffusers import DiffusionPipeline
import torch

model_name = "Qwen/Qwen-Image"

if torch.cuda.is_available():
    torch_dtype = torch.bfloat16
    device = "cuda"
else:
    torch_dtype = torch.float32
    device = "cpu"

pipe = DiffusionPipeline.from_pretrained(model_name, torch_dtype=torch_dtype)
pipe = pipe.to(device)

positive_magic = {"en": ", sharp", "zh": ", 清晰"}
prompt = '''A shop front that says "Open 24h"'''

aspect_ratios = {
    "1:1": (1328, 1328),
    "16:9": (1664, 928),
}
width, height = aspect_ratios["16:9"]

image = pipe(
    prompt=prompt + positive_magic["en"],
    negative_prompt=" ",
    width=width,
    height=height,
    num_inference_steps=50,
    true_cfg_scale=4.0,
    generator=torch.Generator(device="cuda").manual_seed(42)
).images[0]
""",
)

WAN = card(
    "Wan2.2 T2V",
    """
import torch
from diffusers import WanPipeline, AutoencoderKLWan
from diffusers.utils import export_to_video

model_id = "Wan-AI/Wan2.2-T2V-A14B-Diffusers"
vae = AutoencoderKLWan.from_pretrained(model_id, subfolder="vae", torch_dtype=torch.float32)
pipe = WanPipeline.from_pretrained(model_id, vae=vae, torch_dtype=torch.bfloat16)
pipe.to("cuda")

height = 480
width = 832
output = pipe(
    prompt="Two cats box",
    negative_prompt="still",
    height=height,
    width=width,
    num_frames=81,
    guidance_scale=4.0,
    guidance_scale_2=3.0,
    num_inference_steps=40,
).frames[0]
export_to_video(output, "cats.mp4", fps=16)
""",
)

LORA = card(
    "A style",
    """
from diffusers import ZImagePipeline

pipe = ZImagePipeline.from_pretrained("Tongyi-MAI/Z-Image")
pipe.load_lora_weights("someone/a-style", weight_name="style.safetensors")
image = pipe("style, a fox", num_inference_steps=8, guidance_scale=1.0).images[0]
""",
)

BROKEN = card(
    "Broken",
    """
pipe = ZImagePipeline.from_pretrained("someone/broken"
image = pipe(prompt="He said "hello"", num_inference_steps=3)
""",
    """
from diffusers import ZImagePipeline
pipe = ZImagePipeline.from_pretrained("someone/broken")
image = pipe(prompt="a fox", num_inference_steps=6)
""",
)

NOTEBOOK = card(
    "In a notebook",
    """
!pip install -q diffusers transformers
%pip install accelerate
import torch
from diffusers import ZImagePipeline
pipe = ZImagePipeline.from_pretrained("someone/notebook").to("cuda")
steps = 12
""",
    """
with torch.inference_mode():
    images = pipe("a fox", num_inference_steps=steps, guidance_scale=-1.5).images
""",
)
