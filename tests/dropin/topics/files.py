"""Everything in one file, in the layout of its authors."""

SCRIPTS = {
    "a pipeline in one file": """
import torch
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_single_file(FILE_SD, config=SD2, safety_checker=None)
result = pipe("a cat", num_inference_steps=2, generator=torch.manual_seed(0)).images[0]
""",
    "XL in one file": """
import torch
from diffusers import StableDiffusionXLPipeline
from transformers import CLIPTextModelWithProjection
second = CLIPTextModelWithProjection.from_pretrained(XL, subfolder="text_encoder_2")
pipe = StableDiffusionXLPipeline.from_single_file(FILE_XL, config=XL, torch_dtype=torch.float32,
                                                  text_encoder_2=second, local_files_only=True)
result = pipe("a cat", num_inference_steps=2, generator=torch.manual_seed(0),
              output_type="np").images
""",
    "another pipeline of the file": """
import torch
from PIL import Image
from diffusers import StableDiffusionImg2ImgPipeline
pipe = StableDiffusionImg2ImgPipeline.from_single_file(FILE_SD, config=SD2)
result = pipe("a cat", image=Image.open(PICTURE), num_inference_steps=4,
              generator=torch.manual_seed(0)).images[0]
""",
    "a part that is given": """
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
vae = AutoencoderKL.from_pretrained(SD, subfolder="vae")
pipe = StableDiffusionPipeline.from_single_file(FILE_SD, config=SD2, vae=vae)
result = [pipe.vae is vae, pipe.safety_checker,
          pipe("a cat", num_inference_steps=2, generator=torch.manual_seed(0)).images[0]]
""",
    "the parts of the file": """
from diffusers import StableDiffusionXLPipeline
pipe = StableDiffusionXLPipeline.from_single_file(FILE_XL, config=XL)
result = [pipe.unet.state_dict(), pipe.vae.state_dict(),
          list(pipe.text_encoder.state_dict().values())]
""",
    "a UNet out of the file": """
from diffusers import UNet2DConditionModel
unet = UNet2DConditionModel.from_single_file(FILE_SD, config=SD2, subfolder="unet")
result = [unet.state_dict(), unet.training, unet.config.cross_attention_dim]
""",
    "a VAE out of the file": """
import torch
from diffusers import AutoencoderKL
vae = AutoencoderKL.from_single_file(FILE_SD, config=SD2, subfolder="vae",
                                     torch_dtype=torch.float16)
result = [str(vae.dtype), vae.state_dict()]
""",
    "half precision out of the file": """
import torch
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_single_file(FILE_SD, config=SD2, torch_dtype=torch.float16)
result = [str(pipe.unet.dtype), str(pipe.text_encoder.dtype), pipe.unet.conv_in.weight]
""",
    "a file that is not there": """
from diffusers import StableDiffusionPipeline
try:
    StableDiffusionPipeline.from_single_file(str(HERE / "none.safetensors"), config=SD2)
    result = "loaded"
except (OSError, ValueError):
    result = "refused"
""",
    "saved again as a folder": """
import torch
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_single_file(FILE_SD, config=SD2)
pipe.save_pretrained(HERE / "folder")
again = StableDiffusionPipeline.from_pretrained(HERE / "folder")
result = again("a cat", num_inference_steps=2, generator=torch.manual_seed(0)).images[0]
""",
    "files: what a training script saves": """
from diffusers import UNet2DConditionModel
unet = UNet2DConditionModel.from_pretrained(SD, subfolder="unet")
unet.save_pretrained(HERE / "a", is_main_process=True, save_function=lambda *_: None)
unet.save_pretrained(HERE / "b", True, None, True, "fp16")
result = sorted(path.name for path in (HERE / "b").iterdir())
""",
    "files: arguments that networks ignore": """
from diffusers import UNet2DConditionModel
unet, info = UNet2DConditionModel.from_pretrained(
    SD, subfolder="unet", max_memory=None, offload_folder=None, offload_state_dict=None,
    disable_mmap=False, use_flashpack=False, foo=1, output_loading_info=True)
result = [sorted(info), list(info), "missing_keys" in info, info.get("missing_keys"),
          info.get("nothing", 3), dict(info)]
""",
    "files: settings with their commit": """
from diffusers import UNet2DConditionModel
settings, rest, commit = UNet2DConditionModel.load_config(
    SD, subfolder="unet", return_unused_kwargs=True, return_commit_hash=True, foo=1)
same, none = UNet2DConditionModel.load_config(SD, subfolder="unet", return_commit_hash=True)
result = [settings["sample_size"], rest, commit, same == settings, none]
""",
    "files: what settings say beside themselves": """
from diffusers import DDIMScheduler, EulerDiscreteScheduler, StableDiffusionPipeline
from diffusers import UNet2DConditionModel
def facts(config):
    return {name: config[name] for name in ("_class_name", "_diffusers_version", "_name_or_path")
            if name in config}
pipe = StableDiffusionPipeline.from_pretrained(SD)
unet = UNet2DConditionModel.from_pretrained(SD, subfolder="unet")
other = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
result = [facts(config) for config in (
    pipe.scheduler.config, other.config, pipe.unet.config, unet.config, DDIMScheduler().config,
    EulerDiscreteScheduler.from_config(dict(other.config)).config)]
result += [other.config._class_name, unet._name_or_path, pipe.unet.config._name_or_path]
""",
}
