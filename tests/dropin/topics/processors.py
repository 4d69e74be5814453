"""Scripts that look at the processors of a pipeline's pictures and masks, and set their own."""

_SD = """
import torch
from PIL import Image
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD)
def draw(**given):
    return pipe("a cat", num_inference_steps=2, generator=torch.manual_seed(0), **given)
"""

_INPAINT = """
import torch
from PIL import Image
from diffusers import PIPELINE
from diffusers.image_processor import VaeImageProcessor
pipe = PIPELINE.from_pretrained(MODEL)
picture, mask = Image.open(PICTURE).convert("RGB"), Image.open(MASK).convert("L")
soft = mask.resize((8, 8)).resize(mask.size)
greys = dict(vae_scale_factor=8, do_normalize=False, do_convert_grayscale=True)
def draw(**given):
    asked = {"image": picture, "mask_image": soft, "strength": 0.7, "num_inference_steps": 4,
             "height": 32, "width": 32, "output_type": "np", "generator": torch.manual_seed(0),
             **given}
    return pipe("a cat", **asked).images
"""
_INPAINT_SD, _INPAINT_XL, _INPAINT_FLUX = (
    _INPAINT.replace("PIPELINE", f"{kind}InpaintPipeline").replace("MODEL", model)
    for kind, model in (
        ("StableDiffusion", "SD"),
        ("StableDiffusionXL", "XL"),
        ("Flux", "FLUX"),
    )
)

_MASKS_IN_GREY = """
before = draw()
pipe.mask_processor = VaeImageProcessor(do_binarize=False, **greys)
result = [before, draw()]
"""
_SETTINGS = """
names = ("vae_scale_factor", "vae_latent_channels", "do_normalize", "do_binarize",
         "do_convert_grayscale")
result = [[processor.config[name] for name in names]
          for processor in (pipe.image_processor, pipe.mask_processor)]
"""

SCRIPTS = {
    "processors: one's own for what comes out": _SD
    + """
from diffusers.image_processor import VaeImageProcessor
before = draw(output_type="np").images
pipe.image_processor = VaeImageProcessor(vae_scale_factor=8, do_normalize=False)
result = [before, draw(output_type="np").images]
""",
    "processors: methods and settings that change": _SD
    + """
processor = pipe.image_processor
before = draw(output_type="np").images
processor.register_to_config(do_normalize=False)
changed = draw(output_type="np").images
processor.postprocess = lambda pictures, **given: pictures.mean((-1, -2))
result = [before, changed, draw().images, pipe.image_processor is processor]
""",
    "processors: a mask's that changes": _INPAINT_SD
    + """
before = draw()
pipe.mask_processor.register_to_config(do_binarize=False)
result = [before, draw()]
""",
    "processors: one's own for what goes in": """
import torch
from PIL import Image
from diffusers import StableDiffusionImg2ImgPipeline
from diffusers.image_processor import VaeImageProcessor
pipe = StableDiffusionImg2ImgPipeline.from_pretrained(SD)
pipe.image_processor = VaeImageProcessor(vae_scale_factor=8, do_normalize=False)
result = pipe("a cat", image=Image.open(PICTURE), strength=0.5, num_inference_steps=4,
              generator=torch.manual_seed(0), output_type="np").images
""",
    "processors: the pipeline's": _SD
    + """
latents = draw(output_type="latent").images
decoded = pipe.vae.decode(latents / pipe.vae.config.scaling_factor, return_dict=False)[0].detach()
result = pipe.image_processor.postprocess(decoded, output_type="pil")
""",
    "processors: another one for FLUX": """
import torch
from diffusers import FluxPipeline
from diffusers.image_processor import VaeImageProcessor
pipe = FluxPipeline.from_pretrained(FLUX)
pipe.image_processor = VaeImageProcessor(do_normalize=False)
result = pipe("a cat", num_inference_steps=2, height=32, width=32, output_type="np",
              generator=torch.manual_seed(0)).images
""",
    "processors: masks in grey": _INPAINT_SD + _MASKS_IN_GREY,
    "processors: masks in grey, XL": _INPAINT_XL + _MASKS_IN_GREY,
    "processors: masks in grey, FLUX": _INPAINT_FLUX + _MASKS_IN_GREY,
    "processors: around a mask": _INPAINT_SD
    + """
before = draw(padding_mask_crop=4, output_type="pil")
pipe.image_processor = VaeImageProcessor(vae_scale_factor=8, resample="nearest")
pipe.mask_processor = VaeImageProcessor(do_binarize=False, **greys)
result = [before, draw(padding_mask_crop=4, output_type="pil")]
""",
    "processors: settings": _INPAINT_SD + _SETTINGS,
    "processors: settings, FLUX": _INPAINT_FLUX + _SETTINGS,
    "processors: a mask and a picture by hand": _INPAINT_SD
    + """
result = [pipe.image_processor.preprocess(picture, 32, 32),
          pipe.mask_processor.preprocess(soft, 32, 32)]
""",
}
