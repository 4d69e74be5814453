"""A pipeline of a network and a scheduler, which takes one step from noise."""

# mypy: disable-error-code="misc,no-any-return"
from typing import Any

import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput


class OneStepPipeline(DiffusionPipeline):
    def __init__(self, unet: Any, scheduler: Any, note: str = "none") -> None:
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler)
        self.register_to_config(note=note)

    @torch.no_grad()
    def __call__(self, generator: torch.Generator, num_inference_steps: int = 1) -> Any:
        side = self.unet.config.sample_size
        shape = (1, self.unet.config.in_channels, side, side)
        image = torch.randn(shape, generator=generator).to(self.device)
        words = torch.zeros(1, 4, self.unet.config.cross_attention_dim, device=self.device)
        self.scheduler.set_timesteps(num_inference_steps)
        for t in self.progress_bar(self.scheduler.timesteps):
            prediction = self.unet(image, t, words).sample
            image = self.scheduler.step(prediction, t, image).prev_sample
        return ImagePipelineOutput(images=image)
