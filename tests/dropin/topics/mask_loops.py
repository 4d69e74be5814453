"""Loops of one's own around a mask, beside a picture, and after another model."""

_START = """
import torch
from PIL import Image
from diffusers import {0} as Pipeline
pipe = Pipeline.from_pretrained({1})
picture, mask = Image.open(PICTURE).convert("RGB"), Image.open(MASK).convert("L")
x = pipe.image_processor.preprocess(picture, height=32, width=32)
place = (torch.float32, torch.device("cpu"))
def seeded(n=0):
    return torch.Generator().manual_seed(n)
def plain(values):
    return [one if one is None else one.detach() for one in values]
"""

_MASK = """
m = pipe.mask_processor.preprocess(mask, height=32, width=32)
masked = x * (m < 0.5)
"""

_LATENTS = """
pipe.scheduler.set_timesteps(10)
t, left = pipe.get_timesteps(10, 0.5, torch.device("cpu"))
channels = pipe.vae.config.latent_channels
def prepare(*given, **named):
    return plain(pipe.prepare_latents(2, channels, 32, 32, *place, seeded(), *given, **named))
z = torch.randn(2, channels, 16, 16, generator=seeded(3))
result = [left, t,
          prepare(), prepare(image=x, timestep=t[:1], is_strength_max=False),
          prepare(None, x, t[:1], False, return_noise=True, return_image_latents=True),
          prepare(z, x, t[:1], True, return_image_latents=True),
          prepare(image=z[:1], timestep=t[:1], is_strength_max=False),
          pipe._encode_vae_image(x, seeded()).detach(),
          pipe._encode_vae_image(torch.cat([x, -x]), [seeded(1), seeded(2)]).detach()]
"""

_MASKS = """
channels = pipe.vae.config.latent_channels
z = torch.randn(1, channels, 16, 16, generator=seeded(3))
result = [plain(pipe.prepare_mask_latents(m, rest, count, 32, 32, *place, seeded(), guided))
          for rest in (masked, z) for count, guided in ((1, False), (2, True))]
"""

_FLUX = """
import numpy as np
pipe.scheduler.set_timesteps(sigmas=np.linspace(1, 0.1, 10), mu=1.0)
t, left = pipe.get_timesteps(10, 0.55, torch.device("cpu"))
channels = pipe.vae.config.latent_channels
z = torch.randn(1, channels, 16, 16, generator=seeded(3))
def prepare(image, *given):
    return plain(pipe.prepare_latents(image, t[:1], 2, channels, 32, 32, *place, seeded(), *given))
"""

SCRIPTS = {
    "mask: what a run begins with": _START.format("StableDiffusionInpaintPipeline", "SD")
    + _LATENTS,
    "mask: the mask and the rest": _START.format("StableDiffusionInpaintPipeline", "SD")
    + _MASK
    + _MASKS,
    "mask: what a run of XL begins with": _START.format("StableDiffusionXLInpaintPipeline", "XL")
    + _LATENTS.replace("prepare(), prepare", "prepare(image=x), prepare")
    + """
result += [prepare(None, x, t[:1], False, False, True, True),
           prepare(None, x, None, True, False, return_image_latents=True)]
""",
    "mask: XL's mask and the rest": _START.format("StableDiffusionXLInpaintPipeline", "XL")
    + _MASK
    + _MASKS
    + """
result.append(plain(pipe.prepare_mask_latents(m, None, 2, 32, 32, *place, seeded(), True)))
""",
    "mask: a loop": _START.format("StableDiffusionInpaintPipeline", "SD")
    + _MASK
    + """
given, negative = pipe.encode_prompt("a cat", "cpu", 1, True)
words = torch.cat([negative, given])
pipe.scheduler.set_timesteps(4)
t, left = pipe.get_timesteps(4, 0.75, torch.device("cpu"))
latents, noise, known = pipe.prepare_latents(
    1, 4, 32, 32, *place, seeded(), image=x, timestep=t[:1], is_strength_max=False,
    return_noise=True, return_image_latents=True)
small, _ = pipe.prepare_mask_latents(m, masked, 1, 32, 32, *place, seeded(), False)
with torch.no_grad():
    for i, step in enumerate(t):
        both = pipe.scheduler.scale_model_input(torch.cat([latents] * 2), step)
        without, with_ = pipe.unet(both, step, words).sample.chunk(2)
        latents = pipe.scheduler.step(without + 5 * (with_ - without), step, latents).prev_sample
        kept = known if i + 1 == len(t) else pipe.scheduler.add_noise(known, noise, t[i + 1:i + 2])
        latents = (1 - small) * kept + small * latents
result = latents
""",
    "mask: a picture beside the latents": """
import torch
from PIL import Image
from diffusers import (StableDiffusionInstructPix2PixPipeline,
                       StableDiffusionXLInstructPix2PixPipeline)
picture, result = Image.open(PICTURE).convert("RGB"), []
large = StableDiffusionXLInstructPix2PixPipeline
for kind, folder, given in ((StableDiffusionInstructPix2PixPipeline, SD, {}),
                            (large, XL, {}), (large, XL, {"is_cosxl_edit": True})):
    pipe = kind.from_pretrained(folder, **given)
    x = pipe.image_processor.preprocess(picture)
    for image in (x, torch.ones(2, 4, 16, 16)):
        for guided in (True, False):
            result.append(pipe.prepare_image_latents(
                image, 2, 2, torch.float32, torch.device("cpu"), guided).detach())
""",
    "mask: what FLUX begins with": _START.format("FluxImg2ImgPipeline", "FLUX")
    + _FLUX
    + """
result = [left, t, prepare(x), prepare(z), prepare(x, torch.ones(2, 64, 4 * channels)),
          pipe._encode_vae_image(x, seeded()).detach()]
""",
    "mask: what FLUX fills in begins with": _START.format("FluxInpaintPipeline", "FLUX")
    + _MASK
    + _FLUX
    + """
result = [left, prepare(x), prepare(x, torch.cat([z, -z])),
          plain(pipe.prepare_mask_latents(m, masked, 1, channels, 2, 32, 32, *place, seeded()))]
""",
    "mask: what FLUX Fill sees": _START.format("FluxFillPipeline", "FLUX")
    + _MASK
    + _FLUX
    + """
result = [left, prepare(x),
          plain(pipe.prepare_mask_latents(m, masked, 1, channels, 2, 32, 32, *place, seeded())),
          plain(pipe.prepare_mask_latents(m, z, 1, channels, 1, 32, 32, *place, seeded()))]
""",
    "mask: what FLUX Kontext sees": _START.format("FluxKontextPipeline", "FLUX")
    + """
channels = pipe.vae.config.latent_channels
z = torch.randn(2, channels, 8, 12, generator=seeded(3))
result = [plain(pipe.prepare_latents(image, 2, channels, 32, 32, *place, seeded()))
          for image in (None, x, z)]
""",
    "mask: a refiner's sizes and scores": """
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, UNet2DConditionModel
pipe = StableDiffusionXLImg2ImgPipeline.from_pretrained(XL)
sizes = ((32, 48), (1, 2), (64, 80), 6.0, 2.5, (8, 9), (3, 4), (10, 11), torch.float32)
dim = pipe.text_encoder_2.config.projection_dim
result = [pipe._get_add_time_ids(*sizes, text_encoder_projection_dim=dim)]
settings = dict(UNet2DConditionModel.load_config(XL, subfolder="unet"))
settings["projection_class_embeddings_input_dim"] -= settings["addition_time_embed_dim"]
pipe = StableDiffusionXLImg2ImgPipeline(
    **{**pipe.components, "unet": UNet2DConditionModel.from_config(settings)},
    requires_aesthetics_score=True)
result.append(pipe._get_add_time_ids(*sizes, text_encoder_projection_dim=dim))
""",
    "mask: where a refiner begins": """
import torch
from diffusers import HeunDiscreteScheduler, StableDiffusionXLImg2ImgPipeline
pipe = StableDiffusionXLImg2ImgPipeline.from_pretrained(XL)
result = []
for scheduler in (pipe.scheduler, HeunDiscreteScheduler()):
    pipe.scheduler = scheduler
    scheduler.set_timesteps(10)
    result += [pipe.get_timesteps(10, 0.3, "cpu", denoising_start=start)
               for start in (None, 0.55, 0.8)]
""",
}
