"""Pictures without words."""

_NET = """
import numpy as np
import torch
from diffusers import {0}, UNet2DModel, {1}
torch.manual_seed(0)
unet = UNet2DModel(sample_size=16, block_out_channels=(32, 64), norm_num_groups=8,
                   layers_per_block=1, down_block_types=("DownBlock2D", "AttnDownBlock2D"),
                   up_block_types=("AttnUpBlock2D", "UpBlock2D")).eval()
"""

_DDPM = (
    _NET.format("DDPMPipeline", "DDPMScheduler")
    + "pipe = DDPMPipeline(unet=unet, scheduler=DDPMScheduler())\n"
)

_DDIM = (
    _NET.format("DDIMPipeline", "DDIMScheduler") + "pipe = DDIMPipeline(unet, DDIMScheduler())\n"
)

SCRIPTS = {
    "ddpm: a picture": _DDPM
    + """
result = pipe(num_inference_steps=3, output_type="np", generator=torch.manual_seed(0)).images
""",
    "ddpm: several": _DDPM
    + """
made = pipe(batch_size=3, num_inference_steps=2, output_type="pt", return_dict=False,
            generator=[torch.Generator().manual_seed(i) for i in range(3)])
result = len(made), made[0]
""",
    "ddpm: pictures of PIL": _DDPM + "result = pipe(2, torch.manual_seed(0), 2).images[1]",
    "ddpm: saved and loaded": _DDPM
    + """
pipe.save_pretrained(HERE)
from diffusers import DiffusionPipeline
again = DiffusionPipeline.from_pretrained(HERE)
result = type(again).__name__, again(
    num_inference_steps=2, output_type="np", generator=torch.manual_seed(3)).images
""",
    "ddpm: another scheduler": _DDPM
    + """
from diffusers import DDIMScheduler
pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
result = pipe(num_inference_steps=3, output_type="np", generator=torch.manual_seed(0)).images
""",
    "ddpm: trained for a step": _DDPM
    + """
import torch.nn.functional as F
optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-3)
generator = torch.Generator().manual_seed(0)
clean = torch.rand(2, 3, 16, 16, generator=generator) * 2 - 1
noise = torch.randn(clean.shape, generator=generator)
t = torch.tensor([10, 500])
noisy = pipe.scheduler.add_noise(clean, noise, t)
losses = []
for _ in range(2):
    loss = F.mse_loss(unet(noisy, t, return_dict=False)[0], noise)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    losses.append(loss.detach())
result = torch.stack(losses)
""",
    "ddim: a picture": _DDIM
    + """
result = pipe(generator=torch.manual_seed(0), num_inference_steps=3, output_type="np").images
""",
    "ddim: with noise on the way": _DDIM
    + """
result = pipe(generator=torch.manual_seed(0), eta=1.0, num_inference_steps=3,
              use_clipped_model_output=True, output_type="np").images
""",
    "ddim: of a scheduler of another kind": _NET.format("DDIMPipeline", "DDPMScheduler")
    + """
pipe = DDIMPipeline(unet=unet, scheduler=DDPMScheduler(beta_schedule="squaredcos_cap_v2"))
result = type(pipe.scheduler).__name__, pipe(
    batch_size=2, num_inference_steps=2, output_type="np", generator=torch.manual_seed(0)).images
""",
    "pndm: a picture": _NET.format("PNDMPipeline", "PNDMScheduler")
    + """
pipe = PNDMPipeline(unet=unet, scheduler=PNDMScheduler())
result = pipe(1, 5, torch.manual_seed(0), "np").images
""",
    "ldm: without words": _NET.format("LDMPipeline, VQModel", "DDIMScheduler")
    + """
vqvae = VQModel(block_out_channels=[32, 64], in_channels=3, out_channels=3, latent_channels=3,
                down_block_types=["DownEncoderBlock2D"] * 2,
                up_block_types=["UpDecoderBlock2D"] * 2, norm_num_groups=8).eval()
pipe = LDMPipeline(vqvae=vqvae, unet=unet, scheduler=DDIMScheduler())
result = pipe(batch_size=2, num_inference_steps=2, output_type="np",
              generator=torch.manual_seed(0)).images
""",
}
