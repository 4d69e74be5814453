"""Imports, bases, and what belongs to training."""

SCRIPTS = {
    "names: what training scripts ask first": """
import torch
from diffusers.utils import check_min_version, is_peft_available
from diffusers.utils.torch_utils import is_compiled_module
check_min_version("0.30.0.dev0")
result = [is_peft_available(), is_compiled_module(torch.nn.Linear(1, 1))]
try:
    check_min_version("99.0.0")
except ImportError:
    result += ["too old"]
""",
    "names: low-rank weights": """
import torch
from diffusers.utils import convert_state_dict_to_diffusers, convert_unet_state_dict_to_peft
names = ["a.to_q.lora_A.weight", "a.to_out.0.lora_B.weight", "a.proj_in.lora_A.weight"]
old = convert_state_dict_to_diffusers({name: torch.zeros(1) for name in names})
result = [list(old), list(convert_unet_state_dict_to_peft(old))]
""",
    "names: embeddings of timesteps": """
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.embeddings import TimestepEmbedding, Timesteps, get_timestep_embedding
from diffusers.models.unets.unet_2d import UNet2DOutput
torch.manual_seed(0)
layer, t = TimestepEmbedding(in_channels=32, time_embed_dim=64), torch.arange(4)
unet = UNet2DConditionModel.from_pretrained(SD, subfolder="unet")
result = [get_timestep_embedding(t, 31), get_timestep_embedding(t, 32, True, 0, scale=1000),
          Timesteps(32, True, 0)(t), layer(Timesteps(32, False, 1)(t)), unet.time_proj(t),
          UNet2DOutput(t).sample]
""",
    "names: bases": """
from diffusers import (ConfigMixin, DDIMScheduler, ModelMixin, SchedulerMixin, UNet2DConditionModel,
                       DiffusionPipeline, StableDiffusionPipeline)
unet = UNet2DConditionModel.from_pretrained(SD, subfolder="unet")
scheduler = DDIMScheduler()
result = [isinstance(unet, ModelMixin), isinstance(scheduler, SchedulerMixin),
          isinstance(unet, ConfigMixin), isinstance(scheduler, ConfigMixin),
          issubclass(StableDiffusionPipeline, DiffusionPipeline)]
""",
    "names: logging": """
from diffusers import logging
logging.set_verbosity_error()
result = logging.get_verbosity()
""",
    "names: outputs": """
from diffusers import ImagePipelineOutput
out = ImagePipelineOutput(images=[1, 2])
result = [out.images, out["images"], out.to_tuple()]
""",
    "names: a version": """
import diffusers
from packaging.version import Version
result = [Version(diffusers.__version__).is_prerelease, diffusers.__file__.endswith("__init__.py")]
""",
    "names: a schedule of a learning rate": """
import torch
from diffusers.optimization import get_scheduler
optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
found = []
for name in ("constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts",
             "polynomial"):
    schedule = get_scheduler(name, optimizer=optimizer, num_warmup_steps=2, num_training_steps=10)
    for step in range(10):
        found.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
result = torch.tensor(found)
""",
    "names: warmup and cosine": """
import torch
from diffusers.optimization import get_cosine_schedule_with_warmup
optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
schedule = get_cosine_schedule_with_warmup(optimizer=optimizer, num_warmup_steps=3,
                                           num_training_steps=12)
found = []
for step in range(12):
    found.append(schedule.get_last_lr()[0])
    optimizer.step()
    schedule.step()
result = torch.tensor(found)
""",
    "names: what a pipeline is made of": """
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD)
result = [sorted(pipe.components), pipe.vae_scale_factor, str(pipe.device), str(pipe.dtype),
          sorted(k for k in pipe.config if not k.startswith("_"))]
""",
    "names: a class that is not there is told": """
try:
    from diffusers import NoSuchPipelineAtAll
    result = "there"
except ImportError:
    result = "not there"
""",
    "train: words for pictures": """
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from diffusers.optimization import get_scheduler
vae = AutoencoderKL.from_pretrained(SD, subfolder="vae")
unet = UNet2DConditionModel.from_pretrained(SD, subfolder="unet")
scheduler = DDPMScheduler.from_pretrained(SD, subfolder="scheduler")
vae.requires_grad_(False)
unet.train()
optimizer = torch.optim.SGD(unet.parameters(), lr=1e-2)
rates = get_scheduler("linear", optimizer, num_warmup_steps=1, num_training_steps=4)
pictures = torch.rand(2, 3, 32, 32, generator=torch.manual_seed(0)) * 2 - 1
words = torch.randn(2, 7, unet.config.cross_attention_dim, generator=torch.manual_seed(1))
losses = []
for step in range(3):
    z = vae.encode(pictures).latent_dist.mode() * vae.config.scaling_factor
    noise = torch.randn(z.shape, generator=torch.manual_seed(step))
    t = torch.tensor([10 + step, 700])
    noisy = scheduler.add_noise(z, noise, t)
    target = noise
    if scheduler.config.prediction_type == "v_prediction":
        target = scheduler.get_velocity(z, noise, t)
    loss = torch.nn.functional.mse_loss(unet(noisy, t, words, return_dict=False)[0], target)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
    optimizer.step()
    rates.step()
    optimizer.zero_grad()
    losses.append(loss.item())
result = torch.tensor(losses)
""",
    "train: low-rank layers of one's own are saved": """
import torch
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD)
key = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
rows, columns = pipe.unet.get_submodule(key).weight.shape
state = {f"{key}.lora_A.weight": torch.ones(1, columns),
         f"{key}.lora_B.weight": torch.ones(rows, 1)}
pipe.save_lora_weights(save_directory=str(HERE), unet_lora_layers=state, safe_serialization=True)
fresh = StableDiffusionPipeline.from_pretrained(SD)
fresh.load_lora_weights(str(HERE))
result = fresh("a cat", num_inference_steps=2, generator=torch.manual_seed(0),
               output_type="np").images
""",
    "pipeline: saved and loaded": """
import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD)
pipe.save_pretrained(HERE / "a", safe_serialization=True)
again = DiffusionPipeline.from_pretrained(HERE / "a")
result = [type(again), sorted(p.name for p in (HERE / "a").iterdir() if p.is_dir()),
          again("a cat", num_inference_steps=2, generator=torch.manual_seed(0),
                output_type="np").images]
""",
    "pipeline: half precision": """
import torch
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD, torch_dtype=torch.float16)
result = [str(pipe.dtype), str(pipe.unet.dtype), str(pipe.text_encoder.dtype)]
""",
    "pipeline: cast": """
import torch
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD).to(torch.float16).to("cpu")
result = [str(pipe.dtype), str(pipe.device)]
""",
    "pipeline: components of its own": """
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
unet = UNet2DConditionModel.from_pretrained(SD, subfolder="unet")
pipe = StableDiffusionPipeline.from_pretrained(
    SD, unet=unet, scheduler=DDIMScheduler.from_pretrained(SD, subfolder="scheduler"),
    safety_checker=None, requires_safety_checker=False)
result = [pipe.unet is unet, type(pipe.scheduler), pipe.config.requires_safety_checker]
""",
    "pipeline: switches of memory": """
import torch
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD)
pipe.enable_attention_slicing()
pipe.vae.enable_slicing()
pipe.disable_attention_slicing()
pipe.vae.disable_slicing()
result = pipe(["a cat"] * 2, num_inference_steps=2, generator=torch.manual_seed(0),
              output_type="np").images
""",
    "pipeline: FreeU": """
import torch
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD)
pipe.enable_freeu(s1=0.9, s2=0.2, b1=1.5, b2=1.6)
on = pipe("a cat", num_inference_steps=2, generator=torch.manual_seed(0), output_type="np").images
pipe.disable_freeu()
result = [on, pipe("a cat", num_inference_steps=2, generator=torch.manual_seed(0),
                   output_type="np").images]
""",
    "pipeline: fused projections": """
import torch
from diffusers import StableDiffusionXLPipeline
pipe = StableDiffusionXLPipeline.from_pretrained(XL)
pipe.fuse_qkv_projections()
on = pipe("a cat", num_inference_steps=2, generator=torch.manual_seed(0), output_type="np").images
pipe.unfuse_qkv_projections()
result = on
""",
    "pipeline: several pictures of a prompt": """
import torch
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD)
result = pipe("a cat", num_images_per_prompt=3, num_inference_steps=2, output_type="np",
              negative_prompt="a dog", guidance_scale=3.0, generator=torch.manual_seed(0)).images
""",
    "pipeline: forms of pictures": """
import torch
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD)
result = [pipe("a cat", num_inference_steps=2, output_type=kind,
               generator=torch.manual_seed(0)).images for kind in ("pil", "np", "pt", "latent")]
""",
    "pipeline: no guidance": """
import torch
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD)
result = pipe("a cat", guidance_scale=1.0, num_inference_steps=2, output_type="np",
              generator=torch.manual_seed(0)).images
""",
    "pipeline: rescaled guidance": """
import torch
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD)
result = pipe("a cat", guidance_rescale=0.7, num_inference_steps=2, output_type="np",
              generator=torch.manual_seed(0)).images
""",
    "pipeline: a schedule of one's own": """
import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD)
pipe.scheduler = DDPMScheduler.from_config(pipe.scheduler.config)
result = pipe("a cat", timesteps=[900, 500, 100], output_type="np",
              generator=torch.manual_seed(0)).images
""",
    "pipeline: self-attention guidance": """
import torch
from diffusers import StableDiffusionSAGPipeline
pipe = StableDiffusionSAGPipeline.from_pretrained(SD)
result = pipe("a cat", sag_scale=0.75, num_inference_steps=2, output_type="np",
              generator=torch.manual_seed(0)).images
""",
    "pipeline: inpainting": """
import torch
from PIL import Image
from diffusers import StableDiffusionInpaintPipeline
pipe = StableDiffusionInpaintPipeline.from_pretrained(SD)
result = pipe("a cat", image=Image.open(PICTURE), mask_image=Image.open(MASK), height=32, width=32,
              strength=0.8, num_inference_steps=4, output_type="np",
              generator=torch.manual_seed(0)).images
""",
    "pipeline: inpainting about the mask": """
import torch
from PIL import Image
from diffusers import StableDiffusionInpaintPipeline
pipe = StableDiffusionInpaintPipeline.from_pretrained(SD)
result = pipe("a cat", image=Image.open(PICTURE), mask_image=Image.open(MASK), height=32, width=32,
              padding_mask_crop=4, num_inference_steps=3, strength=0.9,
              generator=torch.manual_seed(0)).images
""",
    "pipeline: FLUX": """
import torch
from diffusers import FluxPipeline
pipe = FluxPipeline.from_pretrained(FLUX)
result = pipe("a cat", guidance_scale=3.0, num_inference_steps=3, height=32, width=48,
              max_sequence_length=32, output_type="np", generator=torch.manual_seed(0)).images
""",
    "pipeline: FLUX, two prompts and a negative one": """
import torch
from diffusers import FluxPipeline
pipe = FluxPipeline.from_pretrained(FLUX)
result = pipe(prompt="a cat", prompt_2="in the rain", negative_prompt="a dog", true_cfg_scale=3.0,
              num_inference_steps=2, height=32, width=32, output_type="np",
              generator=torch.manual_seed(0)).images
""",
    "pipeline: FLUX's latents": """
import torch
from diffusers import FluxPipeline
pipe = FluxPipeline.from_pretrained(FLUX)
latents = pipe("a cat", num_inference_steps=2, height=32, width=32, output_type="latent",
               generator=torch.manual_seed(0)).images
result = [latents, pipe("a cat", latents=torch.ones_like(latents), num_inference_steps=2, height=32,
                        width=32, output_type="np").images]
""",
    "names: what pipelines of one's own import": """
import torch
from diffusers import FluxPipeline, StableDiffusionPipeline
from diffusers.image_processor import VaeImageProcessor
from diffusers.loaders import StableDiffusionLoraLoaderMixin, TextualInversionLoaderMixin
from diffusers.models import AutoencoderKL, UNet2DConditionModel
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL as SameVae
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel as SameUnet
from diffusers.pipelines.flux.pipeline_flux import FluxPipeline as SameFlux, calculate_shift
from diffusers.pipelines.pipeline_utils import DiffusionPipeline, StableDiffusionMixin
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import (
    StableDiffusionPipeline as SamePipeline, StableDiffusionPipelineOutput, rescale_noise_cfg,
    retrieve_timesteps)
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from diffusers.schedulers import KarrasDiffusionSchedulers
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.utils import USE_PEFT_BACKEND, deprecate, is_torch_xla_available
from diffusers.utils.torch_utils import randn_tensor
x, y = (torch.randn(1, 4, 8, 8, generator=torch.manual_seed(n)) for n in (0, 1))
result = [SameVae is AutoencoderKL, SameUnet is UNet2DConditionModel, SameFlux is FluxPipeline,
          SamePipeline is StableDiffusionPipeline, calculate_shift(1024),
          calculate_shift(256, 1, 9), rescale_noise_cfg(x, y, 0.7),
          retrieve_timesteps(DDIMScheduler(), 5)[0],
          issubclass(SamePipeline, DiffusionPipeline), is_torch_xla_available()]
""",
    "names: what pipelines of today import": """
import torch
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback
from diffusers.configuration_utils import FrozenDict, deprecate
from diffusers.image_processor import PipelineImageInput, VaeImageProcessor
from diffusers.models import AutoencoderKL, ImageProjection, UNet2DConditionModel
from diffusers.models.lora import adjust_lora_scale_text_encoder
from diffusers.optimization import SchedulerType, get_scheduler
from diffusers.pipelines.stable_diffusion import (
    StableDiffusionImg2ImgPipeline, StableDiffusionSafetyChecker)
from diffusers.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME, WEIGHTS_NAME
from diffusers.utils.torch_utils import (
    empty_device_cache, get_module_execution_device, get_torch_cuda_device_capability)
def call(image: PipelineImageInput = None, two: PipelineImageInput | None = None): pass
pipe = StableDiffusionImg2ImgPipeline.from_pretrained(SD)
empty_device_cache()
result = [CONFIG_NAME, WEIGHTS_NAME, SAFETENSORS_WEIGHTS_NAME, SchedulerType("cosine").name,
          isinstance(pipe.unet.encoder_hid_proj, ImageProjection), StableDiffusionSafetyChecker,
          str(get_module_execution_device(pipe.unet)), get_torch_cuda_device_capability(),
          get_scheduler(SchedulerType.CONSTANT, torch.optim.SGD([torch.ones(1)])).get_last_lr()]
""",
    "names: weights and betas by hand": """
from diffusers.models.modeling_utils import load_state_dict
from diffusers.schedulers.scheduling_ddpm import betas_for_alpha_bar
result = [load_state_dict(SD + "/unet/diffusion_pytorch_model.safetensors"),
          *(betas_for_alpha_bar(10, 0.9, kind) for kind in ("cosine", "exp", "laplace")),
          betas_for_alpha_bar(10, max_beta=0.9999)]
""",
    "names: a model card": """
from diffusers.utils.hub_utils import load_or_create_model_card, populate_model_card
card = load_or_create_model_card(
    repo_id_or_path="owner/none", from_training=True, license="creativeml-openrail-m",
    base_model="owner/sd", prompt="a sks dog", model_description="# Dog", inference=True)
card = populate_model_card(card, tags=["lora", "text-to-image"])
card.save(HERE / "README.md")
again = populate_model_card(load_or_create_model_card(HERE / "README.md"), tags="more")
result = [card.data.to_dict(), again.data.to_dict(), "# Dog" in again.text]
""",
}
