"""Perturbed-attention guidance."""

_SD = """
import torch
from diffusers import StableDiffusionPAGPipeline
pipe = StableDiffusionPAGPipeline.from_pretrained(SD)
def draw(**given):
    return pipe("a cat", **{"num_inference_steps": 3, "output_type": "np",
                            "generator": torch.manual_seed(0), **given}).images
"""

_XL = _SD.replace("StableDiffusionPAG", "StableDiffusionXLPAG").replace("(SD)", "(XL)")

_EDIT = """
import torch
from PIL import Image
from diffusers import StableDiffusion{0}PAG{1}Pipeline
pipe = StableDiffusion{0}PAG{1}Pipeline.from_pretrained({2})
pictures = {{"image": Image.open(PICTURE).convert("RGB")}}
if "Inpaint" in type(pipe).__name__:
    pictures |= {{"mask_image": Image.open(MASK).convert("L"), "height": 32, "width": 32}}
result = pipe("a cat", **pictures, strength=0.6, num_inference_steps=4,
              pag_scale=2.0, output_type="np", generator=torch.manual_seed(0)).images
"""

SCRIPTS = {
    "pag: words": _SD + "result = draw()",
    "pag: off": _SD + "result = draw(pag_scale=0.0)",
    "pag: without a prompt's guidance": _SD + "result = draw(guidance_scale=1.0, pag_scale=5.0)",
    "pag: a scale that falls": _SD + "result = draw(pag_adaptive_scale=0.004)",
    "pag: rescaled": _SD + "result = draw(guidance_rescale=0.7)",
    "pag: other layers": _SD
    + """
pipe.set_pag_applied_layers(["mid", "down_blocks.0", "up_blocks.1.attentions.(0|1)"])
result = draw(), pipe.pag_applied_layers
""",
    "pag: two prompts, two pictures": _SD
    + """
result = pipe(["a cat", "a dog"], negative_prompt=["blue", "red"], num_images_per_prompt=2,
              num_inference_steps=2, output_type="np", generator=torch.manual_seed(0)).images
""",
    "pag: what the run was": _SD
    + """
draw(pag_scale=2.0, pag_adaptive_scale=0.001)
result = [pipe.pag_scale, pipe.pag_adaptive_scale, pipe.do_perturbed_attention_guidance,
          pipe.do_pag_adaptive_scaling]
""",
    "pag: xl": _XL + "result = draw()",
    "pag: xl, two pictures": _XL + "result = draw(num_images_per_prompt=2)",
    "pag: a picture": _EDIT.format("", "Img2Img", "SD"),
    "pag: a mask": _EDIT.format("", "Inpaint", "SD"),
    "pag: xl, a picture": _EDIT.format("XL", "Img2Img", "XL"),
    "pag: xl, a mask": _EDIT.format("XL", "Inpaint", "XL"),
    "pag: by task": """
import torch
from diffusers import AutoPipelineForText2Image
pipe = AutoPipelineForText2Image.from_pretrained(SD, enable_pag=True, pag_applied_layers=["up"])
image = pipe("a cat", num_inference_steps=2, pag_scale=2.0, output_type="np",
             generator=torch.manual_seed(0)).images
result = image, type(pipe).__name__
""",
    "pag: from a pipeline and back": """
from diffusers import (AutoPipelineForImage2Image, AutoPipelineForText2Image,
                       StableDiffusionXLPipeline)
pipe = StableDiffusionXLPipeline.from_pretrained(XL)
with_pag = AutoPipelineForText2Image.from_pipe(pipe, enable_pag=True)
edit = AutoPipelineForImage2Image.from_pipe(with_pag)
plain = AutoPipelineForText2Image.from_pipe(with_pag, enable_pag=False)
result = [type(one).__name__ for one in (with_pag, edit, plain)]
""",
}
