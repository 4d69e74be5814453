"""Stable Diffusion, steered by the likeness of the unfinished picture to a text in CLIP's space.

The noise prediction is moved along the gradient of that likeness, which flows through the decoder
and the network (as in Dhariwal and Nichol 2021, arXiv:2105.05233, with CLIP for a classifier).
"""

# mypy: disable-error-code="attr-defined,misc,no-any-return"
from __future__ import annotations

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    LMSDiscreteScheduler,
    UNet2DConditionModel,
)
from diffusers.pipelines.stable_diffusion import StableDiffusionPipelineOutput
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg
from diffusers.utils import logging
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor
from torch.nn import functional
from transformers import CLIPFeatureExtractor, CLIPModel, CLIPTextModel, CLIPTokenizer

from .likeness import likeness

logger = logging.get_logger(__name__)


class GuidedPipeline(DiffusionPipeline):
    model_cpu_offload_seq = "text_encoder->unet->vae"

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        clip_model: CLIPModel,
        tokenizer: CLIPTokenizer,
        unet: UNet2DConditionModel,
        scheduler: DDIMScheduler | LMSDiscreteScheduler,
        feature_extractor: CLIPFeatureExtractor,
    ) -> None:
        super().__init__()
        self.register_modules(
            vae=vae,
            text_encoder=text_encoder,
            clip_model=clip_model,
            tokenizer=tokenizer,
            unet=unet,
            scheduler=scheduler,
            feature_extractor=feature_extractor,
        )
        for network in (self.text_encoder, self.clip_model):
            network.requires_grad_(False)

    def encode(self, texts: list[str]) -> Tensor:
        tokens = self.tokenizer(
            texts,
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        return tokens.input_ids.to(self._execution_device)

    @torch.enable_grad()
    def steer(self, latents: Tensor, t: Tensor, words: Tensor, wanted: Tensor) -> Tensor:
        latents = latents.detach().requires_grad_()
        seen = self.scheduler.scale_model_input(latents, t)
        noise = self.unet(seen, t, encoder_hidden_states=words).sample
        share = self.scheduler.alphas_cumprod[int(t)].to(latents)
        clean = (latents - (1 - share) ** 0.5 * noise) / share**0.5
        picture = self.vae.decode(clean / self.vae.config.scaling_factor).sample
        size = self.feature_extractor.size["shortest_edge"]
        shown = functional.interpolate((picture / 2 + 0.5).clamp(0, 1), (size, size))
        found = self.clip_model.get_image_features(shown)
        found = found if isinstance(found, Tensor) else found.pooler_output
        return torch.autograd.grad(likeness(found, wanted).sum(), latents)[0]

    @torch.no_grad()
    def __call__(
        self,
        prompt: str,
        num_inference_steps: int = 2,
        guidance_scale: float = 7.5,
        clip_guidance_scale: float = 100.0,
        generator: torch.Generator | None = None,
    ) -> StableDiffusionPipelineOutput:
        device = self._execution_device
        tokens = self.encode(["", prompt])
        words = self.text_encoder(tokens)[0]
        wanted = self.clip_model.get_text_features(tokens[1:])
        wanted = wanted if isinstance(wanted, Tensor) else wanted.pooler_output
        side = self.unet.config.sample_size
        shape = (1, self.unet.config.in_channels, side, side)
        latents = randn_tensor(shape, generator=generator, device=device, dtype=words.dtype)
        self.scheduler.set_timesteps(num_inference_steps, device=device)
        latents = latents * self.scheduler.init_noise_sigma
        for t in self.progress_bar(self.scheduler.timesteps):
            pair = self.scheduler.scale_model_input(torch.cat([latents] * 2), t)
            without, given = self.unet(pair, t, encoder_hidden_states=words).sample.chunk(2)
            noise = rescale_noise_cfg(without + guidance_scale * (given - without), given, 0.5)
            if clip_guidance_scale > 0:
                gradient = self.steer(latents, t, words[1:], wanted)
                share = self.scheduler.alphas_cumprod[int(t)].to(latents)
                noise = noise - clip_guidance_scale * (1 - share) ** 0.5 * gradient
            latents = self.scheduler.step(noise, t, latents).prev_sample
        picture = self.vae.decode(latents / self.vae.config.scaling_factor).sample
        array = (picture / 2 + 0.5).clamp(0, 1).cpu().permute(0, 2, 3, 1).numpy()
        logger.info("drawn")
        return StableDiffusionPipelineOutput(
            images=self.numpy_to_pil(array), nsfw_content_detected=None
        )
