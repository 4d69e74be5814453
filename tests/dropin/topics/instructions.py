"""A picture that is changed as an instruction says."""

_LOAD = """
import torch
from PIL import Image
from diffusers import StableDiffusion{0}InstructPix2PixPipeline, UNet2DConditionModel
settings = dict(UNet2DConditionModel.load_config({1}, subfolder="unet"))
torch.manual_seed(1)
unet = UNet2DConditionModel.from_config({{**settings, "in_channels": 8}}).eval()
pipe = StableDiffusion{0}InstructPix2PixPipeline.from_pretrained({1}, unet=unet{2})
picture = Image.open(PICTURE).convert("RGB")
def draw(**given):
    return pipe("make it red", **{{"image": picture, "num_inference_steps": 3, "output_type": "np",
                                  "generator": torch.manual_seed(0), **given}}).images
"""

_SD = _LOAD.format("", "SD", "")
_XL = _LOAD.format("XL", "XL", "")

SCRIPTS = {
    "instruction: a picture": _SD + "result = draw()",
    "instruction: scales": _SD
    + """
result = [draw(guidance_scale=g, image_guidance_scale=p)
          for g, p in ((3.0, 2.0), (1.0, 1.5), (7.5, 0.5), (7.5, 1.0))]
""",
    "instruction: two of each": _SD
    + """
result = pipe(["make it red", "make it blue"], image=[picture, picture.rotate(90)],
              negative_prompt=["dark", "bright"], num_images_per_prompt=2, num_inference_steps=2,
              output_type="np", generator=torch.manual_seed(0)).images
""",
    "instruction: a picture as latents": _SD
    + "result = draw(image=torch.randn(1, 4, 16, 16, generator=torch.manual_seed(3)))",
    "instruction: another scheduler": _SD
    + """
from diffusers import EulerAncestralDiscreteScheduler
pipe.scheduler = EulerAncestralDiscreteScheduler.from_config(pipe.scheduler.config)
result = draw()
""",
    "instruction: by position": _SD
    + """
result = pipe("make it red", picture, 2, 6.0, 1.2, "dark", 1, 0.0, torch.manual_seed(0),
              output_type="latent").images, pipe.image_guidance_scale
""",
    "instruction: seen by a callback": _SD
    + """
shapes = []
def end(pipe, index, t, tensors):
    shapes.append([list(tensor.shape) for _, tensor in sorted(tensors.items())])
    return tensors
draw(callback_on_step_end=end,
     callback_on_step_end_tensor_inputs=["latents", "prompt_embeds", "image_latents"])
result = shapes
""",
    "instruction: checked": _SD
    + """
pipe.check_inputs("make it red", 1, negative_prompt="dark")
try:
    pipe.check_inputs(None, 1)
    result = "taken"
except ValueError:
    result = "refused"
""",
    "instruction: xl": _XL + "result = draw(height=32, width=32)",
    "instruction: xl, in another size": _XL + "result = draw(height=64, width=32)",
    "instruction: xl, rescaled": _XL
    + "result = draw(height=32, width=32, guidance_rescale=0.6, negative_prompt='dark')",
    "instruction: cosxl": _LOAD.format("XL", "XL", ", is_cosxl_edit=True")
    + "result = draw(height=32, width=32)",
}
