"""Writes the trained parts as a Stable Diffusion folder, in float16."""

from copy import deepcopy
from pathlib import Path

from dpnb.emoji.denoiser import BETA_END, BETA_START, TIMESTEPS
from dpnb.emoji.tokenizer import save_tokenizer
from dpnb.loading.checkpoint_files import read_checkpoint_json, write_json
from dpnb.loading.settings_files import entries
from dpnb.models.autoencoder import AutoencoderKL
from dpnb.models.unet import UNet2DConditionModel
from dpnb.schedulers.ddim import DDIMScheduler
from dpnb.silence import silence_imports

with silence_imports():
    from transformers import CLIPTextModel, CLIPTokenizer

PARTS = {
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
EMPTY = ("feature_extractor", "image_encoder", "safety_checker")


def build_scheduler() -> DDIMScheduler:
    """The scheduler that fits the training: velocity, 1,000 noise levels."""
    return DDIMScheduler(
        num_train_timesteps=TIMESTEPS,
        beta_start=BETA_START,
        beta_end=BETA_END,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def write_pipeline(
    folder: Path,
    vae: AutoencoderKL,
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
) -> None:
    """Write everything that a pipeline needs into `folder`; the given models stay as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    deepcopy(vae).half().save_pretrained(folder / "vae")
    deepcopy(unet).half().save_pretrained(folder / "unet")
    deepcopy(text_encoder).half().save_pretrained(folder / "text_encoder")
    # transformers leaves its weights readable by their owner alone
    (folder / "text_encoder" / "model.safetensors").chmod(0o644)
    _run_in_float32(folder / "text_encoder" / "config.json")
    save_tokenizer(tokenizer, folder / "tokenizer")
    (folder / "scheduler").mkdir(exist_ok=True)
    build_scheduler().save_config(folder / "scheduler")
    index = {
        **{name: [None, None] for name in EMPTY},
        **PARTS,
        "requires_safety_checker": False,
    }
    write_json(folder / "model_index.json", entries("StableDiffusionPipeline", index))


def _run_in_float32(config: Path) -> None:
    """Let transformers widen the stored weights by default, as both libraries do with the rest."""
    write_json(config, read_checkpoint_json(config) | {"dtype": "float32"})
