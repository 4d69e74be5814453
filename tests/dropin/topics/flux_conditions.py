"""FLUX whose network sees another picture: Fill, Control and Kontext."""

_LOAD = """
import torch
from PIL import Image
from diffusers import {0}, FluxTransformer2DModel
settings = dict(FluxTransformer2DModel.load_config(FLUX, subfolder="transformer"))
torch.manual_seed(1)
transformer = FluxTransformer2DModel.from_config({{**settings, **{1}}}).eval()
pipe = {0}.from_pretrained(FLUX, transformer=transformer)
picture, mask = Image.open(PICTURE).convert("RGB"), Image.open(MASK).convert("L")
def draw(**given):
    return pipe(prompt="a cat", **{{**asked, "num_inference_steps": 3, "output_type": "np",
                                   "generator": torch.manual_seed(0), **given}}).images
"""

_FILL = (
    _LOAD.format(
        "FluxFillPipeline",
        '{"in_channels": 2 * settings["in_channels"] + 4 * FLUX_SCALE**2, '
        '"out_channels": settings["in_channels"]}',
    )
    + """
asked = {"image": picture, "mask_image": mask, "height": 32, "width": 32}
"""
)

_CONTROL = (
    _LOAD.format(
        "FluxControlPipeline",
        '{"in_channels": 2 * settings["in_channels"], "out_channels": settings["in_channels"]}',
    )
    + """
asked = {"control_image": picture, "height": 32, "width": 32}
"""
)

_KONTEXT = (
    _LOAD.format("FluxKontextPipeline", "{}")
    + """
asked = {"image": picture, "height": 32, "width": 32, "max_area": 32 * 32, "_auto_resize": False}
"""
)

SCRIPTS = {
    "flux fill: a part": _FILL + "result = draw()",
    "flux fill: strength": _FILL + "result = draw(strength=0.6, guidance_scale=5.0)",
    "flux fill: two pictures": _FILL
    + """
result = draw(num_images_per_prompt=2,
              generator=[torch.Generator().manual_seed(i) for i in range(2)])
""",
    "flux fill: latents": _FILL + 'result = draw(output_type="latent")',
    "flux fill: without a mask": _FILL
    + """
try:
    draw(mask_image=None)
    result = "drawn"
except ValueError:
    result = "refused"
""",
    "flux control: a picture to follow": _CONTROL + "result = draw()",
    "flux control: a tensor is followed as it is": _CONTROL
    + """
follow = torch.rand(1, 3, 32, 32, generator=torch.manual_seed(1))
result = [draw(control_image=follow), draw(control_image=2 * follow - 1),
          draw(control_image=[follow[0]])]
""",
    "flux control: two of one": _CONTROL + "result = draw(num_images_per_prompt=2)",
    "flux control: one for each prompt": _CONTROL
    + """
result = pipe(["a cat", "a dog"], control_image=[picture, picture.rotate(90)], height=32, width=32,
              num_inference_steps=2, num_images_per_prompt=2, output_type="np",
              generator=torch.manual_seed(0)).images
""",
    "flux control: another guidance": _CONTROL + "result = draw(guidance_scale=10.0)",
    "flux control: by position": _CONTROL
    + """
result = pipe("a cat", "a dog", picture, 32, 32, 2, output_type="np",
              generator=torch.manual_seed(0)).images
""",
    "flux kontext: a picture": _KONTEXT + "result = draw()",
    "flux kontext: words alone": _KONTEXT + "result = draw(image=None)",
    "flux kontext: a picture of another shape": _KONTEXT
    + """
wide = picture.resize((64, 32))
result = draw(image=wide), draw(image=wide, height=32, width=64, max_area=32 * 64)
""",
    "flux kontext: brought to an area": _KONTEXT
    + "result = draw(height=256, width=512, max_area=48 * 48)",
    "flux kontext: away from a negative prompt": _KONTEXT
    + "result = draw(negative_prompt='a dog', true_cfg_scale=3.0)",
    "flux kontext: two pictures of two": _KONTEXT
    + """
result = pipe([picture, picture.rotate(90)], ["a cat", "a dog"], num_images_per_prompt=2,
              num_inference_steps=2, height=32, width=32, max_area=32 * 32, _auto_resize=False,
              output_type="np", generator=torch.manual_seed(0)).images
""",
}
