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
}
