"""Autoencoders by themselves, and a tiny one in pipelines."""

VAE = """
import torch
from diffusers import AutoencoderKL
vae = AutoencoderKL.from_pretrained(SD, subfolder="vae").eval()
x = torch.randn(2, 3, 32, 32, generator=torch.manual_seed(0))
"""

TINY = """
import torch
from diffusers import AutoencoderTiny
torch.manual_seed(0)
vae = AutoencoderTiny(encoder_block_out_channels=(16, 16), decoder_block_out_channels=(16, 16),
                      num_encoder_blocks=(1, 2), num_decoder_blocks=(2, 1))
x = torch.randn(2, 3, 32, 32, generator=torch.manual_seed(1)).clamp(-1, 1)
"""

SCRIPTS = {
    "VAE: gradients, recomputed": VAE
    + """
vae.train()
vae.enable_gradient_checkpointing()
vae(x).sample.square().mean().backward()
result = [vae.encoder.conv_in.weight.grad, vae.is_gradient_checkpointing]
""",
    "VAE: there and back": VAE
    + """
with torch.no_grad():
    dist = vae.encode(x).latent_dist
    z = dist.sample(torch.manual_seed(1))
    result = [dist.mean, dist.std, z, vae.decode(z).sample, vae(x, sample_posterior=True,
              generator=torch.manual_seed(2)).sample, dist.kl(), dist.nll(z)]
""",
    "VAE: switches": VAE
    + """
vae.enable_slicing(); a = vae.use_slicing
vae.enable_tiling(); b = vae.use_tiling
vae.disable_slicing(); vae.disable_tiling()
result = [a, b, vae.use_slicing, vae.use_tiling]
""",
    "VAE: slices": VAE
    + """
vae.enable_slicing()
with torch.no_grad():
    result = vae.decode(torch.randn(3, 4, 8, 8, generator=torch.manual_seed(0))).sample
""",
    "VAE: what it encodes to": VAE
    + """
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
with torch.no_grad():
    dist = vae.encode(x).latent_dist
sure = DiagonalGaussianDistribution(dist.parameters, deterministic=True)
result = [dist.parameters, dist.deterministic, sure.sample(), sure.std, sure.kl(), sure.nll(x)]
""",
    "VAE: tiles of a size": VAE
    + """
vae.enable_tiling()
vae.tile_sample_min_size, vae.tile_latent_min_size = 16, 8
vae.use_slicing = True
result = [vae.tile_sample_min_size, vae.tile_latent_min_size, vae.tile_overlap_factor,
          vae.use_tiling, vae.use_slicing]
vae.use_tiling = vae.use_slicing = False
with torch.no_grad():
    result += [vae.use_tiling, vae.use_slicing, vae(x).sample]
""",
    "VQ: the nearest entries": """
import torch
from diffusers import VQModel
torch.manual_seed(0)
vae = VQModel(block_out_channels=[8, 16], norm_num_groups=8,
              down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2)
with torch.no_grad():
    h = vae.encode(torch.randn(2, 3, 16, 16)).latents
    entries, loss, (perplexity, encodings, indices) = vae.quantize(h)
    result = [entries, loss, perplexity, encodings, indices,
              vae.quantize.get_codebook_entry(indices, (2, 8, 8, 3))]
""",
    "tiny VAE: how many pixels a latent has": """
from diffusers import AutoencoderTiny
result = AutoencoderTiny().spatial_scale_factor
""",
    "tiny VAE: there and back": TINY
    + """
with torch.no_grad():
    z = vae.encode(x).latents
    result = [z, vae.decode(z).sample, vae(x).sample, vae.scale_latents(z),
              vae.unscale_latents(torch.rand(1, 4, 2, 2, generator=torch.manual_seed(0)))]
""",
    "tiny VAE: a folder": TINY
    + """
vae.save_pretrained(HERE)
again, info = AutoencoderTiny.from_pretrained(HERE, output_loading_info=True)
names = sorted(again.state_dict())
result = [names, info["missing_keys"], dict(again.config)["block_out_channels"],
          again.decoder.layers[0].weight]
""",
    "tiny VAE: slices": TINY
    + """
vae.enable_slicing()
vae.enable_tiling()
flags = [vae.use_slicing, vae.use_tiling]
vae.disable_tiling()
with torch.no_grad():
    result = [flags, vae.decode(torch.ones(2, 4, 8, 8), return_dict=False)[0]]
""",
    "tiny VAE: in a pipeline": """
import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline
torch.manual_seed(0)
vae = AutoencoderTiny(encoder_block_out_channels=(16, 16), decoder_block_out_channels=(16, 16),
                      num_encoder_blocks=(1, 2), num_decoder_blocks=(2, 1))
pipe = StableDiffusionPipeline.from_pretrained(SD, vae=vae, safety_checker=None)
result = pipe("a cat", num_inference_steps=2, generator=torch.manual_seed(0)).images[0]
""",
    "tiny VAE: a picture to begin with": """
import torch
from PIL import Image
from diffusers import AutoencoderTiny, StableDiffusionImg2ImgPipeline
torch.manual_seed(0)
vae = AutoencoderTiny(encoder_block_out_channels=(16, 16), decoder_block_out_channels=(16, 16),
                      num_encoder_blocks=(1, 2), num_decoder_blocks=(2, 1))
pipe = StableDiffusionImg2ImgPipeline.from_pretrained(SD, vae=vae, safety_checker=None)
result = pipe("a cat", image=Image.open(PICTURE), num_inference_steps=4,
              generator=torch.manual_seed(0)).images[0]
""",
    "VAE: tuples": VAE
    + """
with torch.no_grad():
    (posterior,) = vae.encode(x, return_dict=False)
    (decoded,) = vae.decode(posterior.mean, return_dict=False)
result = [posterior.mean, posterior.logvar, decoded]
""",
    "VAE: a loss": VAE
    + """
vae.train()
posterior = vae.encode(x).latent_dist
loss = (vae.decode(posterior.mode()).sample - x).pow(2).mean() + 1e-3 * posterior.kl().mean()
loss.backward()
result = [loss.detach(), vae.encoder.conv_in.weight.grad]
""",
    "tiny VAE: a pipeline's switches": """
import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline
torch.manual_seed(0)
vae = AutoencoderTiny(encoder_block_out_channels=(16, 16), decoder_block_out_channels=(16, 16),
                      num_encoder_blocks=(1, 2), num_decoder_blocks=(2, 1))
pipe = StableDiffusionPipeline.from_pretrained(SD, vae=vae, safety_checker=None)
pipe.vae.enable_slicing()
flags = [vae.use_slicing]
images = pipe(["a cat", "a dog"], num_inference_steps=2, generator=torch.manual_seed(0)).images
pipe.vae.disable_slicing()
result = flags, images[1], vae.use_slicing
""",
}
