"""Schedulers that scripts derive, change, store and train with."""

SCRIPTS = {
    "schedulers: one derived from another": """
import json
from diffusers import DDIMScheduler
from diffusers.configuration_utils import register_to_config
class Marked(DDIMScheduler):
    @register_to_config
    def __init__(self, num_train_timesteps=1000, mark=3):
        super().__init__(num_train_timesteps=num_train_timesteps)
Marked(mark=5).save_pretrained(save_directory=HERE, push_to_hub=False)
stored = json.loads((HERE / "scheduler_config.json").read_text())
result = [Marked(mark=5).config.mark, stored["mark"], Marked.from_pretrained(HERE).config.mark,
          Marked.from_config(DDIMScheduler(beta_start=0.002).config).config.beta_start,
          Marked.from_pretrained(HERE, mark=6).config["mark"]]
""",
    "schedulers: settings of one's own": """
from diffusers import ConfigMixin, SchedulerMixin
from diffusers.configuration_utils import register_to_config
class Steady(SchedulerMixin, ConfigMixin):
    ignore_for_config = ["b"]
    @register_to_config
    def __init__(self, a=1, b=2, e=[1, 3], **kwargs):
        self.b = b
scheduler = Steady(zz=1)
scheduler.register_to_config(extra=5, given=6)
scheduler.save_pretrained(HERE / "scheduler")
again = Steady.from_pretrained(HERE, subfolder="scheduler", a=9)
result = [scheduler.config.e, scheduler.config.extra, scheduler.config.given,
          "b" in scheduler.config, "kwargs" in scheduler.config, again.config.a, again.config.extra,
          again.has_compatibles, Steady(_name_or_path="x").config._name_or_path]
""",
    "schedulers: settings that another class leaves empty": """
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler
DPMSolverMultistepScheduler(beta_end=0.01).save_pretrained(HERE)
scheduler = DDPMScheduler.from_pretrained(HERE)
scheduler.set_timesteps(5)
x = torch.ones(1, 4, 8, 8)
step = scheduler.step(0.1 * x, scheduler.timesteps[1], x, generator=torch.manual_seed(0))
result = [scheduler.config.variance_type, scheduler.variance_type, step.prev_sample]
""",
    "schedulers: noise levels and tables of one's own": """
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler
def draw(scheduler):
    x = torch.randn(1, 4, 8, 8, generator=torch.manual_seed(0))
    for t in scheduler.timesteps:
        x = scheduler.step(0.3 * x.sin(), t, x).prev_sample
    return x
euler, flow, ddim = EulerDiscreteScheduler(), FlowMatchEulerDiscreteScheduler(), DDIMScheduler()
for scheduler in (euler, flow, ddim):
    scheduler.set_timesteps(6)
euler.sigmas = euler.sigmas * 0.7
flow.sigmas[1:3] *= 0.9
ddim.alphas_cumprod = ddim.alphas_cumprod * 0.9 + 1e-3
noised = ddim.add_noise(torch.ones(1, 4), torch.full((1, 4), 2.0), torch.tensor([300]))
result = [draw(euler), draw(flow), draw(ddim), noised]
""",
    "schedulers: a pseudo numerical run from the middle": """
import torch
from diffusers import PNDMScheduler
scheduler = PNDMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
scheduler.set_timesteps(10)
x = torch.randn(1, 4, 8, 8, generator=torch.manual_seed(0))
for t in scheduler.timesteps[4:]:
    x = scheduler.step(0.3 * x.sin(), t, x).prev_sample
result = x
""",
    "schedulers: what steps return": """
import torch
from diffusers import LCMScheduler, UniPCMultistepScheduler
x = torch.ones(1, 4, 8, 8)
unipc, lcm = UniPCMultistepScheduler(), LCMScheduler()
unipc.set_timesteps(4)
lcm.set_timesteps(4)
(y,) = unipc.step(0.1 * x, unipc.timesteps[0], x, return_dict=False)
generator = torch.Generator().manual_seed(0)
result = [y, lcm.step(0.1 * x, lcm.timesteps[0], x, generator=generator).denoised,
          len(lcm.step(0.1 * x, lcm.timesteps[1], x, return_dict=False))]
""",
    "schedulers: parts that scripts read": """
import torch
from diffusers import (DPMSolverMultistepScheduler, EulerDiscreteScheduler,
                       FlowMatchEulerDiscreteScheduler)
from diffusers.schedulers.scheduling_ddim import DDIMSchedulerOutput
solver, flow = DPMSolverMultistepScheduler(), FlowMatchEulerDiscreteScheduler()
euler = EulerDiscreteScheduler()
euler.set_timesteps(5)
result = [solver.alpha_t, solver.sigma_t, solver.lambda_t, flow.sigmas,
          flow.time_shift(0.8, 1.0, torch.tensor([0.9, 0.2])),
          euler.index_for_timestep(euler.timesteps[2], euler.timesteps),
          DDIMSchedulerOutput(prev_sample=torch.ones(1)).prev_sample]
""",
    "outputs: one's own": """
from dataclasses import dataclass
from diffusers.utils import BaseOutput
@dataclass
class Drawn(BaseOutput):
    images: list = None
    flags: list = None
drawn = Drawn(images=[1])
result = [list(drawn), "images" in drawn, dict(drawn), {**drawn}, drawn[0], drawn["images"],
          drawn.to_tuple(), Drawn({"images": [2]}).images]
""",
    "former names": """
import warnings
from types import SimpleNamespace
from diffusers.utils import deprecate
with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    values = [deprecate(("old", "99.0.0", "m"), take_from=SimpleNamespace(old=5)),
              deprecate("old", "99.0.0", "m", take_from={"old": 6})]
result = [values, [one.category.__name__ for one in warned]]
""",
    "pictures: filters and forms": """
import torch
from diffusers.image_processor import InpaintProcessor, VaeImageProcessor
from PIL import Image
picture = Image.radial_gradient("L").resize((64, 48)).convert("RGB")
mask = Image.new("L", (64, 48))
mask.paste(255, (20, 10, 36, 30))
result = [VaeImageProcessor(resample=name).preprocess(picture, 32, 32, resize_mode=mode)
          for name in ("nearest", "linear", "lanczos") for mode in ("default", "fill", "crop")]
both = InpaintProcessor()
pictures, masks, kept = both.preprocess(picture, mask, 32, 32, padding_mask_crop=4)
result += [pictures, masks, both.postprocess(0 * pictures, **kept)[0]]
grey = VaeImageProcessor(do_convert_grayscale=True)
result += [grey.preprocess([torch.ones(3, 16, 16), torch.zeros(3, 16, 16)])]
""",
    "training: what scripts import": """
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import (
    cast_training_params, compute_density_for_timestep_sampling, compute_loss_weighting_for_sd3,
    compute_snr, free_memory, set_seed)
set_seed(0)
times = [compute_density_for_timestep_sampling(scheme, 8, 0.0, 1.0, 1.29)
         for scheme in ("logit_normal", "mode", "none")]
layer = torch.nn.Linear(2, 2).half()
cast_training_params(layer)
free_memory()
result = [times, compute_loss_weighting_for_sd3("cosmap", torch.tensor([0.2, 0.7])),
          compute_snr(DDPMScheduler(), torch.tensor([3, 700])), str(layer.weight.dtype)]
""",
    "scheduler: arguments of set_timesteps by position": """
import numpy as np
from diffusers import (
    DPMSolverMultistepScheduler, DPMSolverSinglestepScheduler, HeunDiscreteScheduler,
    KDPM2AncestralDiscreteScheduler, LCMScheduler, TCDScheduler, UniPCMultistepScheduler)
result = []
for kind, given in (
    (LCMScheduler, (4, "cpu", 50)), (TCDScheduler, (4, "cpu", 40)),
    (LCMScheduler, (None, "cpu", None, [999, 499])), (LCMScheduler, (4, "cpu", 50, None, 0.5)),
    (DPMSolverMultistepScheduler, (None, "cpu", None, [999, 499, 99])),
    (DPMSolverSinglestepScheduler, (4, "cpu", None)),
    (HeunDiscreteScheduler, (None, "cpu", 1000, [999, 499])), (HeunDiscreteScheduler, (4, "cpu")),
    (KDPM2AncestralDiscreteScheduler, (4, "cpu", None)),
):
    scheduler = kind()
    scheduler.set_timesteps(*given)
    result.append(scheduler.timesteps)
scheduler = UniPCMultistepScheduler(
    prediction_type="flow_prediction", use_flow_sigmas=True, use_dynamic_shifting=True,
    time_shift_type="exponential")
scheduler.set_timesteps(4, "cpu", np.array([1.0, 0.75, 0.5, 0.25]), 0.5)
result.append(scheduler.sigmas)
""",
}
