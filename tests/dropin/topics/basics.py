"""Loading, drawing, saving; outputs and settings."""

SCRIPTS = {
    "draw from words": """
import torch
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD, torch_dtype=torch.float32)
result = pipe("a cat", num_inference_steps=3, generator=torch.manual_seed(0)).images[0]
""",
    "outputs are mappings": """
import torch
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD)
out = pipe("a cat", num_inference_steps=2, generator=torch.manual_seed(0), output_type="np")
result = [list(out.keys()), out["images"], out[0], len(out.to_tuple()), isinstance(out, dict)]
""",
    "outputs as tuples": """
import torch
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD)
images, flags = pipe("a cat", num_inference_steps=2, generator=torch.manual_seed(0),
                     output_type="np", return_dict=False)
result = [images, flags]
""",
    "a model's output": """
import torch
from diffusers import UNet2DConditionModel
unet = UNet2DConditionModel.from_pretrained(SD, subfolder="unet")
x = torch.randn(1, 4, 16, 16, generator=torch.manual_seed(0))
context = torch.randn(1, 7, 24, generator=torch.manual_seed(1))
with torch.no_grad():
    out = unet(x, 10, context)
    (plain,) = unet(x, 10, context, return_dict=False)
result = [out.sample, out["sample"], out[0], plain, list(out)]
""",
    "a scheduler's output": """
import torch
from diffusers import PNDMScheduler
scheduler = PNDMScheduler(skip_prk_steps=True)
scheduler.set_timesteps(5)
x = torch.randn(1, 4, 8, 8, generator=torch.manual_seed(0))
(x,) = scheduler.step(x, scheduler.timesteps[0], x, return_dict=False)
result = x
""",
    "settings by attribute and by key": """
from diffusers import UNet2DConditionModel
unet = UNet2DConditionModel.from_pretrained(SD, subfolder="unet")
result = [unet.config.in_channels, unet.config["sample_size"], "act_fn" in unet.config,
          unet.config.get("nothing", 3), dict(unet.config)["norm_num_groups"],
          isinstance(unet.config, dict)]
""",
    "a scheduler from the hub": """
from diffusers import EulerDiscreteScheduler
scheduler = EulerDiscreteScheduler.from_pretrained(HUB_SD, subfolder="scheduler")
scheduler.set_timesteps(4)
result = scheduler.timesteps
""",
    "settings from the hub": """
from diffusers import UNet2DConditionModel, DDIMScheduler, DiffusionPipeline
unet = UNet2DConditionModel.load_config(HUB_SD, subfolder="unet")
scheduler = DDIMScheduler.load_config(HUB_SD, subfolder="scheduler")
index = DiffusionPipeline.load_config(HUB_SD)
result = [unet["block_out_channels"], scheduler["beta_start"], index["vae"]]
""",
    "another scheduler in place": """
import torch
from diffusers import DiffusionPipeline, EulerAncestralDiscreteScheduler
pipe = DiffusionPipeline.from_pretrained(SD)
pipe.scheduler = EulerAncestralDiscreteScheduler.from_config(pipe.scheduler.config)
result = pipe("a cat", num_inference_steps=3, generator=torch.manual_seed(0)).images
""",
    "unused settings": """
from diffusers import DDIMScheduler, EulerDiscreteScheduler
scheduler, unused = EulerDiscreteScheduler.from_pretrained(
    SD, subfolder="scheduler", return_unused_kwargs=True, foo=3)
result = [type(scheduler), unused["foo"]]
""",
    "settings without names": """
from diffusers import DDIMScheduler
scheduler = DDIMScheduler(500, 0.001, 0.02, "scaled_linear")
result = [scheduler.config.num_train_timesteps, scheduler.config.beta_schedule, scheduler.betas]
""",
    "settings as JSON": """
import json
from diffusers import DDIMScheduler
read = json.loads(DDIMScheduler(beta_end=0.5).to_json_string())
result = [read["beta_end"], read["_class_name"]]
""",
    "what the pipeline was loaded from": """
from diffusers import DiffusionPipeline
pipe = DiffusionPipeline.from_pretrained(SD)
result = [pipe.config.unet[1], pipe.config["vae"][1],
          pipe.config._name_or_path == SD]
""",
    "prompts alone": """
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD, unet=None, vae=None)
result = pipe.encode_prompt("a cat", "cpu", 1, True, negative_prompt="a dog")
""",
    "latents without an autoencoder": """
import torch
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD, vae=None)
result = pipe("a cat", height=64, width=64, num_inference_steps=2,
              generator=torch.manual_seed(0), output_type="latent").images
""",
    "arguments that ask for nothing": """
import torch
from diffusers import StableDiffusionXLPipeline
pipe = StableDiffusionXLPipeline.from_pretrained(XL)
result = pipe("a cat", num_inference_steps=2, generator=torch.manual_seed(0), output_type="np",
              cross_attention_kwargs=None, ip_adapter_image=None).images
""",
    "a scale of low-rank weights": """
import torch
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD)
pipe.load_lora_weights(LORA)
result = pipe("a cat", num_inference_steps=2, generator=torch.manual_seed(0), output_type="np",
              cross_attention_kwargs={"scale": 0.5}).images
""",
    "a callback of former years": """
import torch
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD)
seen = []
pipe("a cat", num_inference_steps=4, generator=torch.manual_seed(0), callback_steps=2,
     callback=lambda i, t, latents: seen.append([i, int(t), list(latents.shape)]))
result = seen
""",
    "to a device by name": """
import torch
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD).to(torch_device="cpu")
result = [str(pipe.device), str(pipe.dtype)]
""",
}
