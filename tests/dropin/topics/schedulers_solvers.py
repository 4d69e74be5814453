"""Solvers as schedulers: singlestep and multistep, in reverse, with noise, of EDM and flows."""

SCRIPTS = {
    "DPM++ 2S in place": """
import torch
from diffusers import DPMSolverSinglestepScheduler, StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD)
pipe.scheduler = DPMSolverSinglestepScheduler.from_config(pipe.scheduler.config)
result = [pipe("a cat", num_inference_steps=5, generator=torch.manual_seed(0)).images[0],
          type(pipe.scheduler), pipe.scheduler.config.algorithm_type]
""",
    "DPM++ 2S with karras sigmas": """
import torch
from diffusers import DPMSolverSinglestepScheduler, StableDiffusionXLPipeline
pipe = StableDiffusionXLPipeline.from_pretrained(XL)
pipe.scheduler = DPMSolverSinglestepScheduler.from_config(
    pipe.scheduler.config, use_karras_sigmas=True)
result = pipe("a cat", num_inference_steps=4, generator=torch.manual_seed(1)).images[0]
""",
    "a singlestep SDE": """
import torch
from diffusers import DPMSolverSinglestepScheduler
scheduler = DPMSolverSinglestepScheduler(
    beta_schedule="scaled_linear", algorithm_type="sde-dpmsolver++", solver_order=2)
scheduler.set_timesteps(6)
generator = torch.manual_seed(0)
x = torch.randn(1, 4, 8, 8, generator=generator)
for t in scheduler.timesteps:
    x = scheduler.step(torch.tanh(x), t, x, generator=generator).prev_sample
result = [x, scheduler.timesteps, scheduler.sigmas]
""",
    "timesteps of one's own for one step solvers": """
import torch
from diffusers import DPMSolverSinglestepScheduler
scheduler = DPMSolverSinglestepScheduler(beta_schedule="scaled_linear")
scheduler.set_timesteps(timesteps=[999, 845, 730, 587, 443, 310, 193, 116, 53, 13])
x = torch.randn(1, 4, 8, 8, generator=torch.manual_seed(0))
for t in scheduler.timesteps:
    x = scheduler.step(torch.tanh(x), t, x).prev_sample
result = [x, scheduler.timesteps]
""",
    "DEIS in place": """
import torch
from diffusers import DEISMultistepScheduler, StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD)
pipe.scheduler = DEISMultistepScheduler.from_config(pipe.scheduler.config)
result = [pipe("a cat", num_inference_steps=6, generator=torch.manual_seed(0)).images[0],
          type(pipe.scheduler)]
""",
    "DEIS of third order": """
import torch
from diffusers import DEISMultistepScheduler
scheduler = DEISMultistepScheduler(
    beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", solver_order=3)
scheduler.set_timesteps(20)
x = torch.randn(1, 4, 8, 8, generator=torch.manual_seed(0))
for t in scheduler.timesteps:
    x = scheduler.step(torch.tanh(scheduler.scale_model_input(x, t)), t, x, return_dict=False)[0]
result = [x, scheduler.timesteps, scheduler.init_noise_sigma, scheduler.order]
""",
    "DEIS from DPM-Solver's settings": """
from diffusers import DEISMultistepScheduler, DPMSolverMultistepScheduler
dpm = DPMSolverMultistepScheduler(solver_order=3, use_karras_sigmas=True)
deis = DEISMultistepScheduler.from_config(dpm.config)
back = DPMSolverMultistepScheduler.from_config(deis.config)
result = [deis.config.algorithm_type, deis.config.solver_type, deis.config.solver_order,
          back.config.algorithm_type, back.config.use_karras_sigmas]
""",
    "SA-Solver in place": """
import torch
from diffusers import SASolverScheduler, StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD)
pipe.scheduler = SASolverScheduler.from_config(pipe.scheduler.config)
result = [pipe("a cat", num_inference_steps=5, generator=torch.manual_seed(0)).images[0],
          type(pipe.scheduler)]
""",
    "SA-Solver without noise": """
import torch
from diffusers import SASolverScheduler
scheduler = SASolverScheduler(
    beta_schedule="scaled_linear", tau_func=lambda t: 0, predictor_order=3, corrector_order=3)
scheduler.set_timesteps(12)
x = torch.randn(1, 4, 8, 8, generator=torch.manual_seed(0))
for t in scheduler.timesteps:
    x = scheduler.step(torch.tanh(x), t, x, generator=torch.manual_seed(1)).prev_sample
result = x
""",
    "noise for training, by SA-Solver": """
import torch
from diffusers import SASolverScheduler
scheduler = SASolverScheduler()
x, noise = torch.randn(2, 3, 4, 8, 8, generator=torch.manual_seed(0))
result = scheduler.add_noise(x, noise, torch.tensor([3, 500, 999]))
""",
    "a picture's noise by DPM-Solver": """
import torch
from diffusers import DPMSolverMultistepInverseScheduler, DPMSolverMultistepScheduler
forward = DPMSolverMultistepScheduler(beta_schedule="scaled_linear")
inverse = DPMSolverMultistepInverseScheduler.from_config(forward.config)
inverse.set_timesteps(10)
x = torch.randn(1, 4, 8, 8, generator=torch.manual_seed(0))
for t in inverse.timesteps:
    x = inverse.step(0.3 * torch.tanh(x), t, x).prev_sample
result = [x, inverse.timesteps]
""",
    "EDM by Euler": """
import torch
from diffusers import EDMEulerScheduler
scheduler = EDMEulerScheduler(sigma_min=0.002, sigma_max=80.0, sigma_data=1.0,
                              prediction_type="v_prediction", sigma_schedule="exponential")
scheduler.set_timesteps(8)
x = torch.randn(1, 4, 8, 8, generator=torch.manual_seed(0)) * scheduler.init_noise_sigma
for t in scheduler.timesteps:
    out = torch.tanh(scheduler.scale_model_input(x, t))
    x = scheduler.step(out, t, x).prev_sample
result = [x, scheduler.timesteps, scheduler.sigmas, scheduler.init_noise_sigma]
""",
    "EDM's preconditioning": """
import torch
from diffusers import EDMEulerScheduler
scheduler = EDMEulerScheduler()
x, out = torch.randn(2, 3, 4, 8, 8, generator=torch.manual_seed(0))
sigma = torch.tensor([0.1, 1.0, 40.0]).view(-1, 1, 1, 1)
result = [scheduler.precondition_inputs(x, sigma), scheduler.precondition_noise(sigma),
          scheduler.precondition_outputs(x, out, sigma), scheduler.precondition_noise(2.0)]
""",
    "EDM without names": """
from diffusers import EDMEulerScheduler
scheduler = EDMEulerScheduler(0.01, 40.0, 1.0)
result = [scheduler.config.sigma_min, scheduler.config.sigma_max, scheduler.config.sigma_data]
""",
    "EDM by DPM-Solver": """
import torch
from diffusers import EDMDPMSolverMultistepScheduler
scheduler = EDMDPMSolverMultistepScheduler(sigma_max=80.0, sigma_data=0.5, solver_order=2)
scheduler.set_timesteps(10)
x = torch.randn(1, 4, 8, 8, generator=torch.manual_seed(0)) * scheduler.init_noise_sigma
for t in scheduler.timesteps:
    out = torch.tanh(scheduler.scale_model_input(x, t))
    x = scheduler.step(out, t, x, return_dict=False)[0]
result = x
""",
    "EDM by a stochastic solver": """
import torch
from diffusers import EDMDPMSolverMultistepScheduler
scheduler = EDMDPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++", solver_type="heun")
scheduler.set_timesteps(6)
generator = torch.Generator("cpu").manual_seed(3)
x = torch.randn(1, 4, 8, 8, generator=generator) * scheduler.init_noise_sigma
for t in scheduler.timesteps:
    out = torch.tanh(scheduler.scale_model_input(x, t))
    x = scheduler.step(out, t, x, generator=generator).prev_sample
result = x
""",
    "EDM saved and loaded": """
from diffusers import EDMEulerScheduler
EDMEulerScheduler(sigma_max=20.0).save_pretrained(HERE)
scheduler = EDMEulerScheduler.from_pretrained(HERE)
scheduler.set_timesteps(4)
result = [scheduler.config.sigma_max, scheduler.config.rho, scheduler.sigmas]
""",
    "sound by iPNDM": """
import torch
from diffusers import IPNDMScheduler
scheduler = IPNDMScheduler()
scheduler.set_timesteps(20)
x = torch.randn(1, 2, 256, generator=torch.manual_seed(0))
for t in scheduler.timesteps:
    x = scheduler.step(torch.tanh(x), t, x).prev_sample
result = [x, scheduler.timesteps, len(scheduler)]
""",
    "a flow by DPM-Solver": """
import torch
from diffusers import DPMSolverMultistepScheduler
scheduler = DPMSolverMultistepScheduler(
    prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
scheduler.set_timesteps(20)
x = torch.randn(1, 4, 8, 8, generator=torch.manual_seed(0))
for t in scheduler.timesteps:
    x = scheduler.step(torch.tanh(x), t, x, return_dict=False)[0]
result = [x, scheduler.timesteps, scheduler.sigmas]
""",
    "a flow by UniPC": """
import torch
from diffusers import UniPCMultistepScheduler
scheduler = UniPCMultistepScheduler(
    prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000,
    flow_shift=5.0)
scheduler.set_timesteps(12, device="cpu")
x = torch.randn(1, 4, 8, 8, generator=torch.manual_seed(0))
for t in scheduler.timesteps:
    x = scheduler.step(torch.tanh(x), t, x, return_dict=False)[0]
result = [x, scheduler.timesteps, scheduler.sigmas]
""",
    "a flow shifted by its length": """
import numpy as np
from diffusers import UniPCMultistepScheduler
scheduler = UniPCMultistepScheduler(
    prediction_type="flow_prediction", use_flow_sigmas=True, use_dynamic_shifting=True)
scheduler.set_timesteps(sigmas=np.linspace(1.0, 0.25, 4), mu=0.8)
result = [scheduler.timesteps, scheduler.sigmas, scheduler.num_inference_steps]
""",
    "solvers that can take over": """
from diffusers import DPMSolverSinglestepScheduler, EulerDiscreteScheduler
names = {kind.__name__ for kind in EulerDiscreteScheduler().compatibles}
result = [{"DPMSolverSinglestepScheduler", "DEISMultistepScheduler"} <= names,
          DPMSolverSinglestepScheduler in EulerDiscreteScheduler().compatibles]
""",
    "EDM in a pipeline": """
import torch
from diffusers import EDMDPMSolverMultistepScheduler, StableDiffusionXLPipeline
pipe = StableDiffusionXLPipeline.from_pretrained(XL)
pipe.scheduler = EDMDPMSolverMultistepScheduler()
result = pipe("a cat", num_inference_steps=4, generator=torch.manual_seed(0)).images[0]
""",
    "a picture changed with DEIS": """
import torch
from PIL import Image
from diffusers import DEISMultistepScheduler, StableDiffusionImg2ImgPipeline
pipe = StableDiffusionImg2ImgPipeline.from_pretrained(SD)
pipe.scheduler = DEISMultistepScheduler.from_config(pipe.scheduler.config)
result = pipe("a cat", image=Image.open(PICTURE), strength=0.6, num_inference_steps=6,
              generator=torch.manual_seed(0)).images[0]
""",
    "a picture changed with DPM++ 2S": """
import torch
from PIL import Image
from diffusers import DPMSolverSinglestepScheduler, StableDiffusionImg2ImgPipeline
pipe = StableDiffusionImg2ImgPipeline.from_pretrained(SD)
pipe.scheduler = DPMSolverSinglestepScheduler.from_config(pipe.scheduler.config)
result = pipe("a cat", image=Image.open(PICTURE), strength=0.6, num_inference_steps=7,
              generator=torch.manual_seed(0)).images[0]
""",
    "a picture changed with SA-Solver": """
import torch
from PIL import Image
from diffusers import SASolverScheduler, StableDiffusionImg2ImgPipeline
pipe = StableDiffusionImg2ImgPipeline.from_pretrained(SD)
pipe.scheduler = SASolverScheduler.from_config(pipe.scheduler.config)
result = pipe("a cat", image=Image.open(PICTURE), strength=0.6, num_inference_steps=7,
              generator=torch.manual_seed(0)).images[0]
""",
}
