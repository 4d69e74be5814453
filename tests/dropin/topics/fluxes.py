"""FLUX that begins with a picture, or draws a part of one anew."""

_EDIT = """
import torch
from PIL import Image
from diffusers import FluxImg2ImgPipeline
pipe = FluxImg2ImgPipeline.from_pretrained(FLUX)
picture = Image.open(PICTURE).convert("RGB")
def draw(**given):
    asked = {"image": picture, "strength": 0.6, "num_inference_steps": 5, "height": 32, "width": 32,
             "output_type": "np", "generator": torch.manual_seed(0), **given}
    return pipe("a cat", **asked).images
"""

_PAINT = """
import torch
from PIL import Image
from diffusers import FluxInpaintPipeline
pipe = FluxInpaintPipeline.from_pretrained(FLUX)
picture, mask = Image.open(PICTURE).convert("RGB"), Image.open(MASK).convert("L")
def draw(**given):
    asked = {"image": picture, "mask_image": mask, "strength": 0.7, "num_inference_steps": 4,
             "height": 32, "width": 32, "output_type": "np", "generator": torch.manual_seed(0),
             **given}
    return pipe("a cat", **asked).images
"""

SCRIPTS = {
    "flux: a picture to a picture": _EDIT + "result = draw()",
    "flux: strengths": _EDIT
    + """
result = [draw(strength=s, num_inference_steps=7) for s in (0.1, 0.35, 0.5, 0.95, 1.0)]
""",
    "flux: a strength that leaves nothing": _EDIT
    + """
try:
    draw(strength=0.0)
    result = "drawn"
except ValueError:
    result = "refused"
""",
    "flux: two pictures of one": _EDIT
    + """
result = draw(num_images_per_prompt=2,
              generator=[torch.Generator().manual_seed(i) for i in range(2)])
""",
    "flux: a picture as a tensor": _EDIT
    + """
import numpy as np
x = torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255).permute(2, 0, 1)[None]
result = draw(image=x)
""",
    "flux: another size": _EDIT + "result = draw(height=48, width=32)",
    "flux: noise levels of one's own": _EDIT
    + """
result = draw(sigmas=[1.0, 0.8, 0.5, 0.2])
""",
    "flux: a negative prompt for a picture": _EDIT
    + """
result = draw(negative_prompt="a dog", true_cfg_scale=2.0)
""",
    "flux: a picture, by position": _EDIT
    + """
result = pipe("a cat", None, None, None, 1.0, picture, 32, 32, 0.5, 4, None, 3.5,
              generator=torch.manual_seed(0), output_type="np").images
""",
    "flux: a picture to latents": _EDIT + 'result = draw(output_type="latent")',
    "flux: callbacks with a picture": _EDIT
    + """
seen = []
def end(pipe, index, t, tensors):
    seen.append([index, list(tensors["latents"].shape)])
    return tensors
draw(callback_on_step_end=end)
result = seen
""",
    "flux: a part anew": _PAINT + "result = draw()",
    "flux: a part anew, all strength": _PAINT + "result = draw(strength=1.0)",
    "flux: a part anew, little strength": _PAINT
    + """
result = draw(strength=0.3, num_inference_steps=6)
""",
    "flux: about the mask": _PAINT
    + """
result = pipe("a cat", image=picture, mask_image=mask, strength=0.8, num_inference_steps=3,
              height=32, width=32, padding_mask_crop=4, generator=torch.manual_seed(0)).images
""",
    "flux: two parts anew": _PAINT
    + """
result = draw(num_images_per_prompt=2)
""",
    "flux: a part anew as a tuple": _PAINT
    + """
(images,) = pipe("a cat", image=picture, mask_image=mask, height=32, width=32, strength=0.6,
                 num_inference_steps=3, generator=torch.manual_seed(0), output_type="np",
                 return_dict=False)
result = images
""",
    "flux: one pipeline for three tasks": """
from diffusers import (AutoPipelineForImage2Image, AutoPipelineForInpainting,
                       AutoPipelineForText2Image)
words = AutoPipelineForText2Image.from_pretrained(FLUX)
picture = AutoPipelineForImage2Image.from_pipe(words)
mask = AutoPipelineForInpainting.from_pipe(picture)
result = [type(words), type(picture), type(mask), mask.transformer is words.transformer]
""",
    "flux: low-rank weights with a picture": _EDIT
    + """
generator = torch.Generator().manual_seed(5)
layers = {}
for name, weight in sorted(pipe.transformer.state_dict().items()):
    if name.endswith("attn.to_q.weight"):
        key, (rows, columns) = name.removesuffix(".weight"), weight.shape
        key = f"transformer.{key}"
        layers[f"{key}.lora_A.weight"] = torch.randn(2, columns, generator=generator) / 4
        layers[f"{key}.lora_B.weight"] = torch.randn(rows, 2, generator=generator) / 4
pipe.load_lora_weights(layers, adapter_name="a")
result = [draw(), draw(joint_attention_kwargs={"scale": 0.5})]
""",
    "flux: encoded prompts": """
import torch
from diffusers import FluxPipeline
pipe = FluxPipeline.from_pretrained(FLUX)
given, pooled, ids = pipe.encode_prompt("a cat", None, max_sequence_length=24)
result = pipe(prompt_embeds=given, pooled_prompt_embeds=pooled, num_inference_steps=2, height=32,
              width=32, output_type="np", generator=torch.manual_seed(0)).images
""",
    "flux: pictures of two prompts": """
import torch
from diffusers import FluxPipeline
pipe = FluxPipeline.from_pretrained(FLUX)
result = pipe(["a cat", "a dog"], num_images_per_prompt=2, num_inference_steps=2, height=32,
              width=32, output_type="np", generator=torch.manual_seed(0)).images
""",
    "flux: by hand": """
import torch
import numpy as np
from diffusers import FluxPipeline
pipe = FluxPipeline.from_pretrained(FLUX)
given, pooled, text_ids = pipe.encode_prompt("a cat", None, max_sequence_length=16)
channels = pipe.transformer.config.in_channels // 4
x, ids = pipe.prepare_latents(1, channels, 32, 32, torch.float32, torch.device("cpu"),
                              torch.manual_seed(0))
pipe.scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / 3, 3), mu=0.5)
guidance = torch.full([1], 3.5) if pipe.transformer.config.guidance_embeds else None
for t in pipe.scheduler.timesteps:
    with torch.no_grad():
        flow = pipe.transformer(hidden_states=x, timestep=t.expand(1) / 1000, guidance=guidance,
                                pooled_projections=pooled, encoder_hidden_states=given,
                                txt_ids=text_ids, img_ids=ids, return_dict=False)[0]
    x = pipe.scheduler.step(flow, t, x, return_dict=False)[0]
latents = pipe._unpack_latents(x, 32, 32, pipe.vae_scale_factor)
latents = latents / pipe.vae.config.scaling_factor + pipe.vae.config.shift_factor
with torch.no_grad():
    result = pipe.vae.decode(latents, return_dict=False)[0]
""",
    "flux: with a cache of what its blocks add": """
import torch
from diffusers import FirstBlockCacheConfig, FluxPipeline
pipe = FluxPipeline.from_pretrained(FLUX)
found = []
for threshold in (0.3, 0.9, None):
    if threshold is not None:
        pipe.transformer.enable_cache(FirstBlockCacheConfig(threshold=threshold))
    found.append(pipe.transformer.is_cache_enabled)
    for prompt in ("a cat", "a dog"):
        found.append(pipe(prompt, num_inference_steps=6, height=32, width=32, output_type="np",
                          generator=torch.manual_seed(0)).images)
    if threshold is not None:
        pipe.transformer.disable_cache()
result = found
""",
    "flux: with a cache, several pictures": """
import torch
from diffusers import FluxPipeline
from diffusers.hooks import FirstBlockCacheConfig
pipe = FluxPipeline.from_pretrained(FLUX)
pipe.transformer.enable_cache(FirstBlockCacheConfig(0.9))
result = pipe(["a cat", "a dog"], num_inference_steps=6, height=32, width=32, output_type="np",
              generator=torch.manual_seed(0)).images
""",
    "flux: no autoencoder": """
import torch
from diffusers import FluxPipeline
pipe = FluxPipeline.from_pretrained(FLUX, vae=None)
result = pipe("a cat", num_inference_steps=2, height=32, width=32, output_type="latent",
              generator=torch.manual_seed(0)).images
""",
    "flux: saved": """
import torch
from diffusers import DiffusionPipeline, FluxImg2ImgPipeline
pipe = FluxImg2ImgPipeline.from_pretrained(FLUX)
pipe.save_pretrained(HERE / "a")
result = [type(DiffusionPipeline.from_pretrained(HERE / "a"))]
""",
}
