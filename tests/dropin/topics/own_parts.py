"""Networks, schedulers and checkers of one's own in a pipeline."""

_DRAW = """
import torch
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD)
pipe.set_progress_bar_config(disable=True)
def draw(**given):
    return pipe(**{"prompt": "a cat", "num_inference_steps": 2, "height": 32, "width": 32,
                   "generator": torch.manual_seed(0), "output_type": "np"} | given).images
"""

_PICTURE = """
import torch
from PIL import Image
from diffusers import KINDImg2ImgPipeline
class Mine(KINDImg2ImgPipeline):
    def check_inputs(self, *given):
        seen.append([one for one in given if one is not None and not callable(one)])
    def prepare_latents(self, image, timestep, batch_size, num_images_per_prompt, *given):
        seen.append([image.shape, timestep, batch_size, num_images_per_prompt, str(given[0])])
        noise = torch.manual_seed(1)
        return torch.randn(batch_size * num_images_per_prompt, 4, 16, 16, generator=noise)
pipe, seen = Mine.from_pretrained(PLACE), []
drawn = pipe(["a cat", "a dog"], image=Image.open(PICTURE), strength=0.5, num_inference_steps=4,
             num_images_per_prompt=2, output_type="np").images
"""

SCRIPTS = {
    "prepare_latents of one's own": _DRAW
    + """
class Mine(StableDiffusionPipeline):
    def prepare_latents(self, *given, **named):
        seen.append([given[:-2], named])
        return super().prepare_latents(*given, **named) / 2
pipe, seen = Mine(**pipe.components, requires_safety_checker=False), []
result = [draw(), draw(num_images_per_prompt=2, height=48), seen]
""",
    "prepare_latents of one's own: set at the pipeline": _DRAW
    + """
pipe.prepare_latents = lambda *given: torch.full((1, 4, 16, 16), 0.5)
result = draw()
""",
    "prepare_latents of one's own: a picture's": _PICTURE.replace(
        "KIND", "StableDiffusion"
    ).replace("PLACE", "SD")
    + """
result = [drawn, seen[1:]]
""",
    "prepare_latents of one's own: a picture's, XL": _PICTURE.replace(
        "KIND", "StableDiffusionXL"
    ).replace("PLACE", "XL")
    + """
result = [drawn, seen[1:]]
""",
    "prepare_latents of one's own: FLUX": """
import torch
from diffusers import FluxPipeline
class Mine(FluxPipeline):
    def prepare_latents(self, *given):
        latents, places = super().prepare_latents(*given)
        return latents / 2, places
pipe = Mine.from_pretrained(FLUX)
result = pipe("a cat", num_inference_steps=2, height=32, width=32, max_sequence_length=16,
              generator=torch.manual_seed(0), output_type="np").images
""",
    "check_inputs of one's own": _DRAW
    + """
class Mine(StableDiffusionPipeline):
    def check_inputs(self, prompt, height, width, *given, **named):
        seen.append([prompt, height, width])
pipe, seen = Mine(**pipe.components, requires_safety_checker=False), []
result = [draw(), seen]
""",
    "compiled networks": _DRAW
    + """
for name in ("unet", "vae", "text_encoder"):
    setattr(pipe, name, torch.compile(getattr(pipe, name), backend="eager"))
drawn = draw()
pipe.save_pretrained(HERE / "saved")
pipe = StableDiffusionPipeline.from_pretrained(HERE / "saved")
result = [drawn, draw(), sorted(pipe.unet.state_dict())]
""",
    "a safety check of one's own": _DRAW
    + """
pipe.run_safety_checker = lambda image, device, dtype: (image / 2, [False] * len(image))
result = [draw(), str(pipe.run_safety_checker(torch.ones(1, 3, 8, 8), "cpu", torch.float32))]
""",
    "a safety check by hand": _DRAW
    + """
result = pipe.run_safety_checker(torch.zeros(1, 3, 32, 32), "cpu", torch.float32)
""",
    "a scheduler of one's own": _DRAW
    + """
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.schedulers.scheduling_utils import SchedulerMixin, SchedulerOutput
class Mine(SchedulerMixin, ConfigMixin):
    order, init_noise_sigma = 1, 1.0
    @register_to_config
    def __init__(self, num_train_timesteps=1000, share=0.1):
        self.timesteps = torch.arange(num_train_timesteps)
    def set_timesteps(self, num_inference_steps, device=None):
        self.timesteps = torch.linspace(999, 0, num_inference_steps).long()
    def scale_model_input(self, sample, timestep=None):
        return sample
    def step(self, model_output, timestep, sample, return_dict=True):
        moved = sample - self.config.share * model_output
        return SchedulerOutput(prev_sample=moved) if return_dict else (moved,)
    def add_noise(self, sample, noise, timesteps):
        return sample + noise * timesteps.reshape(-1, 1, 1, 1) / 1000
pipe.scheduler = Mine(share=0.2)
drawn = draw()
pipe.save_pretrained(HERE / "saved")
from PIL import Image
from diffusers import StableDiffusionImg2ImgPipeline
other = StableDiffusionImg2ImgPipeline(**pipe.components, requires_safety_checker=False)
edited = other("a cat", image=Image.open(PICTURE), strength=0.5, num_inference_steps=4,
               generator=torch.manual_seed(0), output_type="np").images
result = [drawn, edited, Mine.from_pretrained(HERE / "saved/scheduler").config.share]
""",
    "a scheduler of one's own, of no class of the library": _DRAW
    + """
class Mine:
    order, init_noise_sigma, config = 1, 1.0, {}
    def set_timesteps(self, count, device=None):
        self.timesteps = torch.linspace(999, 0, count).long()
    def scale_model_input(self, sample, timestep=None):
        return sample
    def step(self, model_output, timestep, sample, return_dict=True):
        return (sample - 0.2 * model_output,)
pipe.scheduler = Mine()
result = draw()
""",
    "a network's forward of one's own": _DRAW
    + """
unet, vae = pipe.unet, pipe.vae
forward, decode, kinds = unet.forward, vae.decode, []
def halved(sample, timestep, encoder_hidden_states=None, timestep_cond=None,
           cross_attention_kwargs=None, added_cond_kwargs=None, return_dict=False):
    return (forward(sample, timestep, encoder_hidden_states, return_dict=False)[0] / 2,)
unet.forward = halved
vae.decode = lambda z, return_dict=True, generator=None: (decode(z, return_dict=False)[0] / 2,)
unet.register_forward_hook(lambda module, given, made: kinds.append(type(made).__name__))
result = [draw(), kinds]
""",
    "a network of one's own": _DRAW
    + """
class Mine(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner, self.config = inner, inner.config
        self.dtype, self.device = inner.dtype, inner.device
    def forward(self, sample, timestep, **given):
        return (self.inner(sample, timestep, **{**given, "return_dict": False})[0] * 2,)
pipe.unet = Mine(pipe.unet)
drawn = draw()
unet = pipe.unet
class Callable:
    config, dtype, device = unet.config, unet.dtype, unet.device
    def __call__(self, *given, **named):
        return (unet(*given, **named)[0] / 2,)
pipe.unet = Callable()
result = [drawn, draw()]
""",
    "an autoencoder of one's own": """
import torch
from PIL import Image
from diffusers import StableDiffusionImg2ImgPipeline
pipe = StableDiffusionImg2ImgPipeline.from_pretrained(SD)
class Mine(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner, self.config = inner, inner.config
        self.dtype, self.device = inner.dtype, inner.device
    def encode(self, x):
        return self.inner.encode(x)
    def decode(self, z, return_dict=True, generator=None):
        return (self.inner.decode(z, return_dict=False)[0] / 2,)
parts = {**pipe.components, "vae": Mine(pipe.vae)}
pipe = StableDiffusionImg2ImgPipeline(**parts, requires_safety_checker=False)
drawn = pipe("a cat", image=Image.open(PICTURE), strength=0.5, num_inference_steps=4,
             generator=torch.manual_seed(0), output_type="np").images
result = [drawn, pipe.vae_scale_factor]
""",
    "sizes that are set at the pipeline": """
import torch
from diffusers import StableDiffusionXLPipeline
pipe = StableDiffusionXLPipeline.from_pretrained(XL)
pipe.default_sample_size, pipe.vae_scale_factor = 12, 2 * pipe.vae_scale_factor
result = [pipe("a cat", num_inference_steps=2, generator=torch.manual_seed(0),
               output_type="np").images, pipe.default_sample_size, pipe.vae_scale_factor]
""",
}
