"""Denoising loops of one's own, out of a pipeline's parts."""

_PARTS = """
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer
vae = AutoencoderKL.from_pretrained(SD, subfolder="vae")
tokenizer = CLIPTokenizer.from_pretrained(SD, subfolder="tokenizer")
text_encoder = CLIPTextModel.from_pretrained(SD, subfolder="text_encoder")
unet = UNet2DConditionModel.from_pretrained(SD, subfolder="unet")
scheduler = DDIMScheduler.from_pretrained(SD, subfolder="scheduler")
def read(text):
    ids = tokenizer(text, padding="max_length", max_length=tokenizer.model_max_length,
                    truncation=True, return_tensors="pt").input_ids
    with torch.no_grad():
        return text_encoder(ids)[0]
"""

_SD = """
import torch
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD)
"""

SCRIPTS = {
    "loop: the tutorial": _PARTS
    + """
words = torch.cat([read([""]), read(["a cat"])])
latents = torch.randn((1, unet.config.in_channels, 16, 16), generator=torch.manual_seed(0))
latents = latents * scheduler.init_noise_sigma
scheduler.set_timesteps(4)
for t in scheduler.timesteps:
    both = scheduler.scale_model_input(torch.cat([latents] * 2), timestep=t)
    with torch.no_grad():
        noise = unet(both, t, encoder_hidden_states=words).sample
    without, given = noise.chunk(2)
    latents = scheduler.step(without + 7.5 * (given - without), t, latents).prev_sample
with torch.no_grad():
    image = vae.decode(latents / vae.config.scaling_factor).sample
result = (image / 2 + 0.5).clamp(0, 1)
""",
    "loop: inversion": _PARTS
    + """
from diffusers import DDIMInverseScheduler
inverse = DDIMInverseScheduler.from_config(scheduler.config)
inverse.set_timesteps(4)
latents = torch.randn(1, 4, 16, 16, generator=torch.manual_seed(0))
words = read(["a cat"])
with torch.no_grad():
    for t in inverse.timesteps:
        latents = inverse.step(unet(latents, t, words).sample, t, latents).prev_sample
result = latents
""",
    "loop: words between two": _PARTS
    + """
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD)
mixed = torch.lerp(read(["a cat"]), read(["a dog"]), 0.5)
result = pipe(prompt_embeds=mixed, negative_prompt_embeds=read([""]), num_inference_steps=2,
              generator=torch.manual_seed(0), output_type="np").images
""",
    "loop: encode_prompt": _SD
    + """
given, negative = pipe.encode_prompt("a cat", "cpu", 1, True, negative_prompt="a dog")
result = [given, negative, pipe(prompt_embeds=given, negative_prompt_embeds=negative,
                                num_inference_steps=2, generator=torch.manual_seed(0),
                                output_type="np").images]
""",
    "loop: encode_prompt with all arguments": _SD
    + """
given, negative = pipe.encode_prompt(
    prompt=["a cat", "a dog"], device="cpu", num_images_per_prompt=2,
    do_classifier_free_guidance=True, negative_prompt=["", "bad"], lora_scale=None)
result = [given, negative]
""",
    "loop: latents of the pipeline": _SD
    + """
latents = pipe.prepare_latents(2, 4, 32, 32, torch.float32, torch.device("cpu"),
                               torch.manual_seed(0))
result = [latents, pipe.prepare_latents(1, 4, 32, 32, torch.float32, torch.device("cpu"), None,
                                        latents[:1])]
""",
    "loop: the scheduler's arguments": _SD
    + """
result = [sorted(pipe.prepare_extra_step_kwargs(torch.manual_seed(0), 0.5))]
""",
    "loop: arguments are checked": _SD
    + """
pipe.check_inputs("a cat", 32, 32, 1)
found = []
for given in (("a cat", 33, 32, 1), (3, 32, 32, 1), (None, 32, 32, 1), ("a cat", 32, 32, -1)):
    try:
        pipe.check_inputs(*given)
        found.append("taken")
    except (ValueError, TypeError):
        found.append("refused")
result = found
""",
    "loop: what a run was told": _SD
    + """
seen = []
def end(pipe, index, timestep, tensors):
    seen.append([pipe.guidance_scale, pipe.num_timesteps, pipe.do_classifier_free_guidance,
                 pipe.clip_skip, pipe.interrupt, pipe.cross_attention_kwargs,
                 pipe.guidance_rescale])
    return tensors
pipe("a cat", num_inference_steps=3, guidance_scale=4.0, callback_on_step_end=end)
result = seen
""",
    "loop: an embedded guidance scale": _SD
    + """
result = pipe.get_guidance_scale_embedding(torch.tensor([7.5, 3.0]), embedding_dim=16)
""",
    "loop: timesteps of a picture": """
import torch
from diffusers import StableDiffusionImg2ImgPipeline
pipe = StableDiffusionImg2ImgPipeline.from_pretrained(SD)
pipe.scheduler.set_timesteps(10)
timesteps, count = pipe.get_timesteps(10, 0.6, torch.device("cpu"))
result = [timesteps, count]
""",
    "loop: XL's sizes": """
import torch
from diffusers import StableDiffusionXLPipeline
pipe = StableDiffusionXLPipeline.from_pretrained(XL)
result = pipe._get_add_time_ids((32, 32), (0, 4), (32, 48), torch.float32,
                                text_encoder_projection_dim=pipe.text_encoder_2.config.projection_dim)
""",
    "loop: XL by hand": """
import torch
from diffusers import StableDiffusionXLPipeline
pipe = StableDiffusionXLPipeline.from_pretrained(XL)
given, negative, pooled, negative_pooled = pipe.encode_prompt("a cat", device="cpu")
latents = torch.randn(1, 4, 16, 16, generator=torch.manual_seed(0))
latents = latents * pipe.scheduler.init_noise_sigma
ids = torch.tensor([[32, 32, 0, 0, 32, 32.0]])
pipe.scheduler.set_timesteps(3)
for t in pipe.scheduler.timesteps:
    x = pipe.scheduler.scale_model_input(torch.cat([latents] * 2), t)
    added = {"text_embeds": torch.cat([negative_pooled, pooled]), "time_ids": ids.repeat(2, 1)}
    with torch.no_grad():
        noise = pipe.unet(x, t, encoder_hidden_states=torch.cat([negative, given]),
                          added_cond_kwargs=added, return_dict=False)[0]
    without, with_ = noise.chunk(2)
    latents = pipe.scheduler.step(without + 5 * (with_ - without), t, latents,
                                  return_dict=False)[0]
result = [latents, given, pooled]
""",
    "loop: FLUX packs its latents": """
import torch
from diffusers import FluxPipeline
pipe = FluxPipeline.from_pretrained(FLUX)
x = torch.randn(1, 4, 8, 8, generator=torch.manual_seed(0))
packed = FluxPipeline._pack_latents(x, 1, 4, 8, 8)
factor = pipe.vae_scale_factor
ids = FluxPipeline._prepare_latent_image_ids(1, 4, 4, torch.device("cpu"), torch.float32)
result = [packed, FluxPipeline._unpack_latents(packed, 8 * factor, 8 * factor, factor), ids]
""",
    "loop: FLUX's words": """
import torch
from diffusers import FluxPipeline
pipe = FluxPipeline.from_pretrained(FLUX)
given, pooled, ids = pipe.encode_prompt(prompt="a cat", prompt_2=None, max_sequence_length=32)
result = [given, pooled, ids]
""",
    "loop: pictures without words": """
import torch
from diffusers import DDPMScheduler, UNet2DModel
torch.manual_seed(0)
unet = UNet2DModel(sample_size=8, block_out_channels=(16, 32), norm_num_groups=8,
                   down_block_types=("DownBlock2D", "DownBlock2D"),
                   up_block_types=("UpBlock2D", "UpBlock2D"), layers_per_block=1)
for name, weight in unet.named_parameters():
    torch.nn.init.constant_(weight, 0.01)
scheduler = DDPMScheduler(num_train_timesteps=100)
scheduler.set_timesteps(4)
x = torch.randn(1, 3, 8, 8, generator=torch.manual_seed(0))
for t in scheduler.timesteps:
    with torch.no_grad():
        x = scheduler.step(unet(x, t).sample, t, x, generator=torch.manual_seed(int(t))).prev_sample
result = x
""",
    "loop: noise for a picture": _PARTS
    + """
import numpy as np
from PIL import Image
picture = torch.from_numpy(np.asarray(Image.open(PICTURE), dtype=np.float32) / 127.5 - 1)
with torch.no_grad():
    z = vae.encode(picture.permute(2, 0, 1)[None]).latent_dist.mode() * vae.config.scaling_factor
noise = torch.randn(z.shape, generator=torch.manual_seed(0))
scheduler.set_timesteps(10)
t = scheduler.timesteps[4:5]
result = [scheduler.add_noise(z, noise, t), scheduler.get_velocity(z, noise, t)]
""",
    "loop: latents given": _SD
    + """
latents = torch.randn(1, 4, 16, 16, generator=torch.manual_seed(3))
result = pipe("a cat", latents=latents, height=32, width=32, num_inference_steps=2,
              output_type="np").images
""",
    "loop: a progress bar": _SD
    + """
pipe.set_progress_bar_config(disable=True)
with pipe.progress_bar(total=3) as bar:
    for _ in range(3):
        bar.update()
result = [x for x in pipe.progress_bar(range(4))]
""",
    "loop: timesteps of a scheduler": """
import torch
from diffusers import DDIMScheduler
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import retrieve_timesteps
scheduler = DDIMScheduler()
timesteps, count = retrieve_timesteps(scheduler, 5, "cpu")
result = [timesteps, count]
""",
    "loop: the classes by their path": """
from diffusers.models import AutoencoderKL, UNet2DConditionModel
from diffusers.schedulers import DDIMScheduler, PNDMScheduler
from diffusers.pipelines import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion import StableDiffusionPipeline as Same
result = [AutoencoderKL, UNet2DConditionModel, DDIMScheduler, StableDiffusionPipeline, Same]
""",
    "loop: a picture's latents": """
import torch
from PIL import Image
from diffusers import StableDiffusionImg2ImgPipeline
pipe = StableDiffusionImg2ImgPipeline.from_pretrained(SD)
x = pipe.image_processor.preprocess(Image.open(PICTURE).convert("RGB"))
pipe.scheduler.set_timesteps(10)
timesteps, count = pipe.get_timesteps(10, 0.5, "cpu")
result = [count, pipe.prepare_latents(x, timesteps[:1], 1, 2, torch.float32, torch.device("cpu"),
                                      torch.manual_seed(0)).detach()]
""",
    "loop: a picture's latents without noise": """
import torch
from PIL import Image
from diffusers import StableDiffusionXLImg2ImgPipeline
pipe = StableDiffusionXLImg2ImgPipeline.from_pretrained(XL)
x = pipe.image_processor.preprocess(Image.open(PICTURE).convert("RGB"))
result = pipe.prepare_latents(x, None, 2, 1, torch.float32, torch.device("cpu"),
                              torch.manual_seed(0), add_noise=False).detach()
""",
    "loop: arguments with a picture are checked": """
from PIL import Image
from diffusers import (FluxImg2ImgPipeline, StableDiffusionImg2ImgPipeline,
                       StableDiffusionInpaintPipeline, StableDiffusionXLImg2ImgPipeline)
found = []
def check(pipe, *given):
    try:
        pipe.check_inputs(*given)
        found.append("taken")
    except (ValueError, TypeError):
        found.append("refused")
edit = StableDiffusionImg2ImgPipeline.from_pretrained(SD)
check(edit, "a cat", 0.5, 1)
check(edit, "a cat", 1.5, 1)
check(edit, None, 0.5, 1)
paint = StableDiffusionInpaintPipeline.from_pretrained(SD)
picture, mask = Image.open(PICTURE).convert("RGB"), Image.open(MASK).convert("L")
check(paint, "a cat", picture, mask, 32, 32, 0.5, 1, "pil")
check(paint, "a cat", picture, mask, 32, 31, 0.5, 1, "pil")
large = StableDiffusionXLImg2ImgPipeline.from_pretrained(XL)
check(large, "a cat", None, 0.5, 10, 1)
check(large, "a cat", None, -0.5, 10, 1)
flux = FluxImg2ImgPipeline.from_pretrained(FLUX)
check(flux, "a cat", None, 0.5, 32, 32)
check(flux, "a cat", None, 2.0, 32, 32)
result = found
""",
    "loop: what runs of XL and FLUX were told": """
from PIL import Image
from diffusers import FluxPipeline, StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline
seen = []
def end(pipe, index, timestep, tensors):
    seen.append([getattr(pipe, name, None) for name in (
        "denoising_start", "denoising_end", "joint_attention_kwargs", "guidance_scale")])
    return tensors
base = StableDiffusionXLPipeline.from_pretrained(XL)
base("a cat", num_inference_steps=4, denoising_end=0.5, callback_on_step_end=end)
refiner = StableDiffusionXLImg2ImgPipeline.from_pretrained(XL)
refiner("a cat", image=Image.open(PICTURE), num_inference_steps=4, denoising_start=0.5,
        callback_on_step_end=end)
flux = FluxPipeline.from_pretrained(FLUX)
flux("a cat", num_inference_steps=2, height=32, width=32, joint_attention_kwargs={},
     callback_on_step_end=end)
result = seen
""",
    "loop: former names": """
import json
import torch
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD)
latents = torch.randn(1, 4, 8, 8, generator=torch.manual_seed(0))
pipe.save_config(HERE)
with torch.no_grad():
    result = [pipe._encode_prompt("a cat", "cpu", 1, True, "a dog"), pipe.decode_latents(latents),
              json.loads(pipe.to_json_string())["unet"], (HERE / "model_index.json").exists(),
              pipe.maybe_convert_prompt("a cat", pipe.tokenizer)]
""",
}
