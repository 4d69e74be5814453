"""Schedulers in loops of one's own: every way to ask for a run, steps, noise for training."""

SCRIPTS = {
    "steps of trajectory consistency distillation": """
import torch
from diffusers import TCDScheduler
scheduler = TCDScheduler(beta_schedule="scaled_linear")
scheduler.set_timesteps(4)
x = torch.randn(1, 4, 8, 8, generator=torch.manual_seed(0))
generator = torch.Generator().manual_seed(1)
for t in scheduler.timesteps:
    out = scheduler.step(torch.tanh(x), t, x, eta=0.3, generator=generator)
    x = out.prev_sample
result = [scheduler.timesteps, x, out.pred_noised_sample, list(out)]
""",
    "a distilled pipeline with another scheduler": """
import torch
from diffusers import StableDiffusionPipeline, TCDScheduler
pipe = StableDiffusionPipeline.from_pretrained(SD)
pipe.scheduler = TCDScheduler.from_config(pipe.scheduler.config)
result = pipe("a cat", num_inference_steps=4, guidance_scale=0, eta=0.3,
              generator=torch.manual_seed(0), output_type="np").images
""",
    "a whole run with the midpoint rule": """
import torch
from diffusers import KDPM2DiscreteScheduler
scheduler = KDPM2DiscreteScheduler(beta_schedule="scaled_linear", use_karras_sigmas=True)
scheduler.set_timesteps(10)
x = torch.randn(1, 4, 8, 8, generator=torch.manual_seed(0)) * scheduler.init_noise_sigma
for t in scheduler.timesteps:
    seen = scheduler.scale_model_input(x, t)
    x = scheduler.step(torch.tanh(seen), t, x).prev_sample
result = [x, scheduler.sigmas, len(scheduler.timesteps), scheduler.order]
""",
    "the midpoint rule with ancestral noise": """
import torch
from diffusers import StableDiffusionPipeline, KDPM2AncestralDiscreteScheduler
pipe = StableDiffusionPipeline.from_pretrained(SD)
pipe.scheduler = KDPM2AncestralDiscreteScheduler.from_config(pipe.scheduler.config)
result = pipe("a cat", num_inference_steps=4, generator=torch.manual_seed(0),
              output_type="np").images
""",
    "Heun's method on a flow": """
import torch
from diffusers import FlowMatchHeunDiscreteScheduler
scheduler = FlowMatchHeunDiscreteScheduler(shift=3.0)
scheduler.set_timesteps(num_inference_steps=6)
x = torch.randn(1, 16, 8, 8, generator=torch.manual_seed(0))
for t in scheduler.timesteps:
    x = scheduler.step(torch.tanh(x + t / 1000), t, x, return_dict=False)[0]
result = [x, scheduler.timesteps, scheduler.sigmas]
""",
    "consistency steps on a flow": """
import torch
from diffusers import FlowMatchLCMScheduler
scheduler = FlowMatchLCMScheduler(shift=2.0)
scheduler.set_timesteps(sigmas=[1.0, 0.75, 0.5, 0.25])
x = torch.randn(1, 16, 8, 8, generator=torch.manual_seed(0))
generator = torch.Generator().manual_seed(1)
for t in scheduler.timesteps:
    x = scheduler.step(torch.tanh(x), t, x, generator=generator).prev_sample
result = [x, scheduler.timesteps]
""",
    "samples that grow from step to step": """
import torch
from diffusers import FlowMatchLCMScheduler
scheduler = FlowMatchLCMScheduler()
scheduler.set_scale_factors([1.5, 2.0], "bicubic")
scheduler.set_timesteps(3)
x = torch.randn(1, 4, 8, 8, generator=torch.manual_seed(0))
generator = torch.Generator().manual_seed(1)
shapes = []
for t in scheduler.timesteps:
    x = scheduler.step(0.1 * x, t, x, generator=generator).prev_sample
    shapes.append(tuple(x.shape))
result = [shapes, x]
""",
    "tokens with timesteps of their own": """
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
scheduler = FlowMatchEulerDiscreteScheduler()
scheduler.set_timesteps(5)
x = torch.randn(2, 5, 8, generator=torch.manual_seed(0))
places = scheduler.timesteps[:5].expand(2, 5)
result = scheduler.step(0.1 * x, scheduler.timesteps[0], x, per_token_timesteps=places,
                        return_dict=False)[0]
""",
    "a schedule from the noise levels of another": """
from diffusers import EulerDiscreteScheduler
first = EulerDiscreteScheduler(use_karras_sigmas=True)
first.set_timesteps(8)
scheduler = EulerDiscreteScheduler()
scheduler.set_timesteps(sigmas=first.sigmas)
result = [scheduler.timesteps, scheduler.sigmas, scheduler.num_inference_steps]
""",
    "the level of the first noise as a tensor": """
import torch
from diffusers import (EulerDiscreteScheduler, EulerAncestralDiscreteScheduler,
                       HeunDiscreteScheduler, LMSDiscreteScheduler, DDIMScheduler)
x = torch.ones(1, 4, 8, 8)
result = []
for cls in (EulerDiscreteScheduler, EulerAncestralDiscreteScheduler, HeunDiscreteScheduler,
            LMSDiscreteScheduler):
    scheduler = cls(timestep_spacing="leading")
    scheduler.set_timesteps(10)
    level = scheduler.init_noise_sigma
    result += [level.item(), float(level), x * level, level.to(torch.float64), x.half() * level]
result.append(DDIMScheduler().init_noise_sigma)
""",
    "where a run ends": """
from diffusers import DDIMScheduler, PNDMScheduler, LCMScheduler
result = [DDIMScheduler().final_alpha_cumprod,
          DDIMScheduler(set_alpha_to_one=False).final_alpha_cumprod,
          PNDMScheduler().final_alpha_cumprod, LCMScheduler().final_alpha_cumprod.item()]
""",
    "the timestep before this one": """
from diffusers import DDPMScheduler
scheduler = DDPMScheduler()
before = [int(scheduler.previous_timestep(t)) for t in (999, 500, 0)]
scheduler.set_timesteps(10)
result = before + [int(scheduler.previous_timestep(t)) for t in scheduler.timesteps]
""",
    "weights of linear multistep": """
from diffusers import LMSDiscreteScheduler
scheduler = LMSDiscreteScheduler()
scheduler.set_timesteps(10)
result = [scheduler.get_lms_coefficient(3, 5, which) for which in range(3)]
""",
    "what DPM-Solver extrapolates": """
import torch
from diffusers import DPMSolverMultistepScheduler
scheduler = DPMSolverMultistepScheduler(beta_schedule="scaled_linear")
scheduler.set_timesteps(10)
x = torch.randn(1, 4, 8, 8, generator=torch.manual_seed(0))
x = scheduler.step(torch.tanh(x), scheduler.timesteps[0], x).prev_sample
result = scheduler.convert_model_output(torch.tanh(x), sample=x)
""",
    "what UniPC extrapolates": """
import torch
from diffusers import UniPCMultistepScheduler
result = []
for predicts_original in (True, False):
    scheduler = UniPCMultistepScheduler(predict_x0=predicts_original,
                                        final_sigmas_type="sigma_min")
    scheduler.set_timesteps(10)
    x = torch.randn(1, 4, 8, 8, generator=torch.manual_seed(0))
    x = scheduler.step(torch.tanh(x), scheduler.timesteps[0], x).prev_sample
    result.append(scheduler.convert_model_output(torch.tanh(x), sample=x))
""",
    "both methods of PNDM": """
import torch
from diffusers import PNDMScheduler
scheduler = PNDMScheduler(beta_schedule="scaled_linear")
scheduler.set_timesteps(10)
x = torch.randn(1, 4, 8, 8, generator=torch.manual_seed(0))
for t in scheduler.prk_timesteps:
    x = scheduler.step_prk(torch.tanh(x), t, x).prev_sample
for t in scheduler.plms_timesteps:
    x = scheduler.step_plms(torch.tanh(x), t, x).prev_sample
result = [x, list(map(int, scheduler.prk_timesteps)), list(map(int, scheduler.plms_timesteps))]
""",
    "PNDM without its start": """
import torch
from diffusers import PNDMScheduler
scheduler = PNDMScheduler(skip_prk_steps=True)
scheduler.set_timesteps(6)
x = torch.randn(1, 4, 8, 8, generator=torch.manual_seed(0))
for t in scheduler.plms_timesteps:
    (x,) = scheduler.step_plms(torch.tanh(x), int(t), x, return_dict=False)
result = [x, len(scheduler.prk_timesteps)]
""",
    "steps before a number of steps is set": """
import torch
from diffusers import (DDPMScheduler, EulerDiscreteScheduler, LMSDiscreteScheduler,
                       HeunDiscreteScheduler, FlowMatchEulerDiscreteScheduler)
result = []
for cls in (DDPMScheduler, EulerDiscreteScheduler, LMSDiscreteScheduler, HeunDiscreteScheduler,
            FlowMatchEulerDiscreteScheduler):
    scheduler = cls()
    x = torch.randn(1, 4, 8, 8, generator=torch.manual_seed(0))
    generator = {} if "LMS" in cls.__name__ or "Heun" in cls.__name__ else {
        "generator": torch.manual_seed(1)}
    for t in scheduler.timesteps[:3]:
        if hasattr(scheduler, "scale_model_input"):
            scheduler.scale_model_input(x, t)
        x = scheduler.step(0.1 * x, t, x, **generator).prev_sample
    result.append(x)
""",
    "the whole of training backwards": """
import torch
from diffusers import DDPMScheduler
scheduler = DDPMScheduler(num_train_timesteps=20, beta_schedule="squaredcos_cap_v2")
x = torch.randn(1, 3, 8, 8, generator=torch.manual_seed(0))
generator = torch.manual_seed(1)
for t in reversed(range(len(scheduler))):
    x = scheduler.step(torch.tanh(x), t, x, generator=generator).prev_sample
result = x
""",
    "noise for training": """
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
noise_scheduler = DDPMScheduler.from_pretrained(SD, subfolder="scheduler")
torch.manual_seed(0)
latents, noise = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
timesteps = torch.randint(0, noise_scheduler.config.num_train_timesteps, (2,)).long()
noisy = noise_scheduler.add_noise(latents, noise, timesteps)
target = noise_scheduler.get_velocity(latents, noise, timesteps)
result = [noisy, target, F.mse_loss(noisy, target)]
""",
    "noise for training in sigmas": """
import torch
from diffusers import EulerDiscreteScheduler
scheduler = EulerDiscreteScheduler(beta_schedule="scaled_linear", beta_start=0.00085,
                                   beta_end=0.012)
torch.manual_seed(0)
latents, noise = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8)
timesteps = torch.randint(0, scheduler.config.num_train_timesteps, (3,))
result = scheduler.add_noise(latents, noise, timesteps)
""",
    "weights of training steps by their signal-to-noise ratio": """
import torch
from diffusers import DDPMScheduler
scheduler = DDPMScheduler(beta_schedule="scaled_linear")
timesteps = torch.tensor([3, 400, 900])
alphas = scheduler.alphas_cumprod[timesteps]
snr = (alphas**0.5 / (1.0 - alphas) ** 0.5) ** 2
weights = torch.stack([snr, 5.0 * torch.ones_like(snr)], dim=1).min(dim=1)[0] / snr
result = [weights, scheduler.betas, scheduler.alphas, len(scheduler)]
""",
    "flows for training": """
import copy
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
twin = copy.deepcopy(scheduler)
torch.manual_seed(0)
latents, noise = torch.randn(4, 16, 8, 8), torch.randn(4, 16, 8, 8)
u = torch.sigmoid(torch.randn(4))
indices = (u * twin.config.num_train_timesteps).long()
timesteps = twin.timesteps[indices]
steps = [(twin.timesteps == t).nonzero().item() for t in timesteps]
sigmas = twin.sigmas.to(torch.float32)[steps].flatten().view(-1, 1, 1, 1)
noisy = (1.0 - sigmas) * latents + sigmas * noise
result = [noisy, scheduler.scale_noise(latents, timesteps, noise), timesteps]
""",
    "copies go their own way": """
import copy
import pickle
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, UniPCMultistepScheduler
result = []
for cls in (DDIMScheduler, EulerDiscreteScheduler, UniPCMultistepScheduler):
    scheduler = cls()
    scheduler.set_timesteps(4)
    twins = [copy.deepcopy(scheduler), pickle.loads(pickle.dumps(scheduler)), scheduler]
    for twin in twins:
        x = torch.randn(1, 4, 8, 8, generator=torch.manual_seed(0))
        for t in twin.timesteps:
            x = twin.step(torch.tanh(twin.scale_model_input(x, t)), t, x).prev_sample
        result.append(x)
""",
    "classes that take the same settings": """
from diffusers import DDIMScheduler, KDPM2DiscreteScheduler
names = {cls.__name__ for cls in DDIMScheduler().compatibles}
known = {"DDIMScheduler", "EulerDiscreteScheduler", "PNDMScheduler", "UniPCMultistepScheduler",
         "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler"}
result = [sorted(names & known), KDPM2DiscreteScheduler in DDIMScheduler().compatibles]
""",
    "timesteps of one's own": """
import inspect
from diffusers import DDPMScheduler, EulerDiscreteScheduler, DPMSolverMultistepScheduler

def retrieve_timesteps(scheduler, num_inference_steps=None, device=None, timesteps=None, **kwargs):
    if timesteps is not None:
        accepts = "timesteps" in set(inspect.signature(scheduler.set_timesteps).parameters.keys())
        if not accepts:
            raise ValueError("no custom timesteps")
        scheduler.set_timesteps(timesteps=timesteps, device=device, **kwargs)
        timesteps = scheduler.timesteps
        num_inference_steps = len(timesteps)
    else:
        scheduler.set_timesteps(num_inference_steps, device=device, **kwargs)
        timesteps = scheduler.timesteps
    return timesteps, num_inference_steps

own = [999, 700, 400, 100]
result = [retrieve_timesteps(cls(), timesteps=own, device="cpu")
          for cls in (DDPMScheduler, EulerDiscreteScheduler, DPMSolverMultistepScheduler)]
result += [retrieve_timesteps(DDPMScheduler(), 5)]
""",
    "start from a picture": """
import torch
from diffusers import KDPM2DiscreteScheduler, HeunDiscreteScheduler
result = []
for cls in (KDPM2DiscreteScheduler, HeunDiscreteScheduler):
    scheduler = cls()
    scheduler.set_timesteps(10)
    torch.manual_seed(0)
    latents, noise = torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8)
    start = 6 * scheduler.order
    timesteps = scheduler.timesteps[start:]
    scheduler.set_begin_index(start)
    x = scheduler.add_noise(latents, noise, timesteps[:1])
    for t in timesteps:
        x = scheduler.step(torch.tanh(scheduler.scale_model_input(x, t)), t, x)[0]
    result.append(x)
""",
    "aligned steps": """
from diffusers import EulerDiscreteScheduler, DPMSolverMultistepScheduler
from diffusers.schedulers import AysSchedules
first = EulerDiscreteScheduler(beta_schedule="scaled_linear")
first.set_timesteps(sigmas=AysSchedules["StableDiffusionXLSigmas"])
second = DPMSolverMultistepScheduler(beta_schedule="scaled_linear")
second.set_timesteps(timesteps=AysSchedules["StableDiffusionTimesteps"])
result = [first.timesteps, second.timesteps, sorted(AysSchedules)]
""",
    "from a picture to its noise": """
import torch
from diffusers import DDIMScheduler, DDIMInverseScheduler
forward = DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False)
inverse = DDIMInverseScheduler.from_config(forward.config)
inverse.set_timesteps(10, device="cpu")
x = torch.randn(1, 4, 8, 8, generator=torch.manual_seed(0))
for t in inverse.timesteps:
    x = inverse.step(torch.tanh(x), t, x).prev_sample
result = [x, inverse.timesteps]
""",
    "steps at many timesteps at once": """
import torch
from diffusers import DDIMParallelScheduler, DDPMParallelScheduler
result = []
for cls in (DDIMParallelScheduler, DDPMParallelScheduler):
    scheduler = cls(beta_schedule="scaled_linear")
    scheduler.set_timesteps(10)
    x = torch.randn(3, 4, 8, 8, generator=torch.manual_seed(0))
    result.append(scheduler.batch_step_no_noise(torch.tanh(x), scheduler.timesteps[2:5], x))
""",
}
