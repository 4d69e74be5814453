"""What calls take, by position and by default, and what pipelines do to what they are given."""

_SD = """
import torch
from PIL import Image
from diffusers import DDIMScheduler, PNDMScheduler
from diffusers import {0} as Pipeline
pipe = Pipeline.from_pretrained(SD)
picture = Image.open(PICTURE).convert("RGB")
"""

_OUTDATED = """
settings = {**pipe.scheduler.config, "steps_offset": 0, "clip_sample": True}
pipe = Pipeline(**{**pipe.components, "scheduler": DDIMScheduler.from_config(settings)})
found = [pipe.scheduler.config.steps_offset, pipe.scheduler.config.clip_sample]
"""

SCRIPTS = {
    "call: self-attention guidance leaves the scheduler as it is": _SD.format(
        "StableDiffusionSAGPipeline"
    )
    + _OUTDATED
    + """
result = found, pipe("a cat", num_inference_steps=3, height=32, width=32, output_type="np",
                     generator=torch.manual_seed(0)).images
""",
    "call: inpainting corrects two settings of the scheduler": _SD.format(
        "StableDiffusionInpaintPipeline"
    )
    + _OUTDATED
    + """
other = Pipeline(**{**pipe.components, "scheduler": PNDMScheduler(skip_prk_steps=False)})
mask = Image.open(MASK).convert("L")
result = [found, other.scheduler.config.skip_prk_steps,
          pipe("a cat", picture, mask, num_inference_steps=3, height=32, width=32,
               output_type="np", generator=torch.manual_seed(0)).images]
""",
    "call: by position up to the embeddings": _SD.format("StableDiffusionPipeline")
    + """
given, negative = pipe.encode_prompt("a cat", "cpu", 1, True)
result = pipe(None, 32, 32, 2, None, None, 5.0, None, 2, 0.5, torch.manual_seed(0), None, given,
              negative, output_type="np").images
""",
    "call: a picture by position": _SD.format("StableDiffusionImg2ImgPipeline")
    + """
result = pipe("a cat", picture, 0.6, 4, None, None, 5.0, "a dog", 2, 0.0, torch.manual_seed(0),
              output_type="np").images
""",
    "call: arguments in their order": """
import inspect
from diffusers import FluxControlPipeline, StableDiffusionUpscalePipeline
result = [[name for name in inspect.signature(kind.__call__).parameters][:19]
          for kind in (FluxControlPipeline, StableDiffusionUpscalePipeline)]
""",
    "call: instructions take 100 steps": """
import inspect
from diffusers import (StableDiffusionInstructPix2PixPipeline,
                       StableDiffusionXLInstructPix2PixPipeline)
result = [inspect.signature(kind.__call__).parameters["num_inference_steps"].default
          for kind in (StableDiffusionInstructPix2PixPipeline,
                       StableDiffusionXLInstructPix2PixPipeline)]
""",
    "call: XL without its first text encoder": """
import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
pipe = StableDiffusionXLPipeline.from_pretrained(XL)
settings = dict(UNet2DConditionModel.load_config(XL, subfolder="unet"))
torch.manual_seed(1)
width = pipe.text_encoder_2.config.hidden_size
unet = UNet2DConditionModel.from_config({**settings, "cross_attention_dim": width}).eval()
pipe = StableDiffusionXLPipeline.from_pretrained(XL, unet=unet, text_encoder=None, tokenizer=None)
result = [pipe("a cat", prompt_2=second, negative_prompt="a dog", num_inference_steps=2,
               height=32, width=32, output_type="np", generator=torch.manual_seed(0)).images
          for second in (None, "a bird")]
""",
    "call: FLUX in a size that tokens do not fill": """
import torch
from diffusers import FluxPipeline
pipe = FluxPipeline.from_pretrained(FLUX)
result = pipe("a cat", height=39, width=34, num_inference_steps=2, output_type="np",
              generator=torch.manual_seed(0)).images
""",
    "call: FLUX of a picture in such a size": """
import torch
from PIL import Image
from diffusers import FluxImg2ImgPipeline, FluxInpaintPipeline
given = {"image": Image.open(PICTURE).convert("RGB"), "height": 30, "width": 33,
         "strength": 0.7, "num_inference_steps": 3, "output_type": "np"}
result = [FluxImg2ImgPipeline.from_pretrained(FLUX)(
              "a cat", **given, generator=torch.manual_seed(0)).images,
          FluxInpaintPipeline.from_pretrained(FLUX)(
              "a cat", mask_image=Image.open(MASK).convert("L"), **given,
              generator=torch.manual_seed(0)).images]
""",
    "call: FLUX's negative embeddings of another length": """
import torch
from diffusers import FluxPipeline
pipe = FluxPipeline.from_pretrained(FLUX)
given, pooled, _ = pipe.encode_prompt("a cat", None, max_sequence_length=12)
negative, negative_pooled, _ = pipe.encode_prompt("a dog", None, max_sequence_length=20)
result = pipe(prompt_embeds=given, pooled_prompt_embeds=pooled, negative_prompt_embeds=negative,
              negative_pooled_prompt_embeds=negative_pooled, height=32, width=32,
              num_inference_steps=2, output_type="np", generator=torch.manual_seed(0)).images
""",
    "call: as many steps as timesteps": _SD.format("StableDiffusionPipeline")
    + """
from diffusers import EulerDiscreteScheduler
from diffusers.schedulers import AysSchedules
pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
given = {"num_inference_steps": None, "height": 32, "width": 32, "output_type": "np"}
result = [pipe("a cat", timesteps=AysSchedules["StableDiffusionTimesteps"],
               generator=torch.manual_seed(0), **given).images,
          pipe("a cat", sigmas=AysSchedules["StableDiffusionSigmas"],
               generator=torch.manual_seed(0), **given).images]
""",
    "call: what pipelines say of themselves": """
from diffusers import FluxPipeline, StableDiffusionXLPipeline
xl = StableDiffusionXLPipeline.from_pretrained(XL, add_watermarker=False)
result = [xl.watermark, xl.default_sample_size,
          FluxPipeline.from_pretrained(FLUX).default_sample_size]
""",
    "call: arrays by their whole name": _SD.format("StableDiffusionPipeline")
    + """
drawn = pipe("a cat", num_inference_steps=2, height=32, width=32, output_type="numpy",
             generator=torch.manual_seed(0)).images
result = [drawn, pipe.numpy_to_pil(images=drawn),
          pipe.image_processor.postprocess(torch.zeros(1, 3, 8, 8), output_type="numpy")]
""",
    "call: latents that have a size": _SD.format("StableDiffusionPipeline")
    + """
latents = torch.randn(1, 4, 12, 20, generator=torch.manual_seed(0))
result = pipe("a cat", num_inference_steps=2, latents=latents, output_type="np").images
""",
}
