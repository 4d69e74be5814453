"""Networks by themselves: loading, saving, switching, training."""

UNET = """
import torch
from diffusers import UNet2DConditionModel
unet = UNet2DConditionModel.from_pretrained(SD, subfolder="unet")
x = torch.randn(2, 4, 16, 16, generator=torch.manual_seed(0))
context = torch.randn(2, 7, unet.config.cross_attention_dim, generator=torch.manual_seed(1))
"""

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

DRAWN = """
import torch
from diffusers import {name}
torch.manual_seed(0)
model = {name}({settings})
result = {{k: v for k, v in model.state_dict().items()}}
"""

SMALL_UNET = """block_out_channels=(32, 64), layers_per_block=1, sample_size=16, norm_num_groups=8,
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), cross_attention_dim=24,
    up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), attention_head_dim=4"""

SCRIPTS = {
    "settings as arguments": """
from diffusers import UNet2DConditionModel
import torch
torch.manual_seed(0)
unet = UNet2DConditionModel.from_pretrained(
    SD, subfolder="unet", in_channels=9, low_cpu_mem_usage=False, ignore_mismatched_sizes=True)
result = [unet.config.in_channels, tuple(unet.conv_in.weight.shape), unet.conv_out.weight]
""",
    "a model by its argument's name": """
from diffusers import AutoencoderKL
vae = AutoencoderKL.from_pretrained(pretrained_model_name_or_path=SD, subfolder="vae",
                                    use_safetensors=True, revision=None, variant=None)
result = vae.decoder.conv_in.weight
""",
    "where a model goes": """
import torch
from diffusers import UNet2DConditionModel
unet = UNet2DConditionModel.from_pretrained(SD, subfolder="unet", device_map="cpu",
                                            torch_dtype=torch.float16)
result = [str(unet.device), str(unet.dtype), unet.conv_in.weight]
""",
    "how loading went": """
from diffusers import UNet2DConditionModel
unet, info = UNet2DConditionModel.from_pretrained(SD, subfolder="unet", output_loading_info=True)
result = [list(info["missing_keys"]), list(info["unexpected_keys"]), list(info["mismatched_keys"]),
          list(info["error_msgs"])]
""",
    "a model from the hub": """
from diffusers import UNet2DConditionModel
unet = UNet2DConditionModel.from_pretrained(HUB_SD, subfolder="unet")
result = unet.conv_out.weight
""",
    "save a model in the main process": """
import os
from diffusers import UNet2DConditionModel
unet = UNet2DConditionModel.from_pretrained(SD, subfolder="unet")
unet.save_pretrained(HERE / "a", is_main_process=True, safe_serialization=True, variant="fp16")
again = UNet2DConditionModel.from_pretrained(HERE / "a", variant="fp16")
result = [sorted(os.listdir(HERE / "a")), again.conv_in.weight]
""",
    "save a model in pieces": """
import os
from diffusers import UNet2DConditionModel
unet = UNet2DConditionModel.from_pretrained(SD, subfolder="unet")
unet.save_pretrained(HERE / "a", max_shard_size="100KB")
again = UNet2DConditionModel.from_pretrained(HERE / "a")
result = [len(os.listdir(HERE / "a")) > 3, again.conv_in.weight]
""",
    "save a model as a pickle": """
import os
from diffusers import AutoencoderKL
vae = AutoencoderKL.from_pretrained(SD, subfolder="vae")
vae.save_pretrained(HERE, safe_serialization=False)
result = [sorted(os.listdir(HERE)), AutoencoderKL.from_pretrained(HERE).encoder.conv_in.weight]
""",
    "how large a model is": UNET
    + """
unet.conv_in.requires_grad_(False)
result = [unet.num_parameters(), unet.num_parameters(only_trainable=True),
          unet.num_parameters(exclude_embeddings=True), unet.get_memory_footprint(),
          unet.get_memory_footprint(return_buffers=False)]
""",
    "attention processors by name": UNET
    + """
names = sorted(unet.attn_processors)
result = [len(names), names[0], names[-1]]
""",
    "processors in a dictionary": UNET
    + """
from diffusers.models.attention_processor import AttnProcessor
processors = {name: AttnProcessor() for name in unet.attn_processors}
unet.set_attn_processor(processors)
with torch.no_grad():
    result = unet(x, 10, context).sample
""",
    "another attention backend": UNET
    + """
unet.set_attention_backend("native")
with torch.no_grad():
    first = unet(x, 10, context).sample
unet.reset_attention_backend()
with torch.no_grad():
    result = [first, unet(x, 10, context).sample]
""",
    "gradient checkpointing": UNET
    + """
unet.train()
def gradients():
    unet.zero_grad()
    unet(x, 10, context).sample.square().mean().backward()
    return {n: p.grad.clone() for n, p in unet.named_parameters() if p.grad is not None}
plain = gradients()
unet.enable_gradient_checkpointing()
on = unet.is_gradient_checkpointing
kept = gradients()
unet.disable_gradient_checkpointing()
gap = max((kept[n] - plain[n]).abs().max().item() for n in plain)
result = [on, unet.is_gradient_checkpointing, gap < 1e-5, kept["conv_in.weight"], len(kept)]
""",
    "gradient checkpointing of a VAE": VAE
    + """
vae.train()
vae.enable_gradient_checkpointing()
vae(x).sample.square().mean().backward()
result = [vae.encoder.conv_in.weight.grad, vae.is_gradient_checkpointing]
""",
    "gradient checkpointing of FLUX": """
import torch
from diffusers import FluxTransformer2DModel
flux = FluxTransformer2DModel.from_pretrained(FLUX, subfolder="transformer")
flux.enable_gradient_checkpointing()
flux.train()
result = [flux.is_gradient_checkpointing, flux.training]
""",
    "class labels without classes": UNET
    + """
with torch.no_grad():
    result = unet(x, 10, context, class_labels=None, attention_mask=None,
                  encoder_attention_mask=None, cross_attention_kwargs=None).sample
""",
    "a mask of the words": UNET
    + """
mask = torch.ones(2, 7)
mask[:, 4:] = 0
with torch.no_grad():
    result = [unet(x, 10, context, encoder_attention_mask=mask).sample,
              unet(x, 10, context, encoder_attention_mask=torch.ones(2, 7)).sample]
""",
    "a boolean mask of the words": UNET
    + """
mask = torch.arange(7) < 3
with torch.no_grad():
    result = unet(x, 10, context, encoder_attention_mask=mask.expand(2, 7)).sample
""",
    "residuals of a ControlNet": UNET
    + """
with torch.no_grad():
    plain = unet(x, 10, context).sample
    width, layers = unet.config.block_out_channels, unet.config.layers_per_block
    layers = layers if isinstance(layers, (list, tuple)) else [layers] * len(width)
    side, residuals = 16, [torch.ones(2, width[0], 16, 16)]
    for i, channels in enumerate(width):
        residuals += [torch.ones(2, channels, side, side)] * layers[i]
        if i < len(width) - 1:
            side //= 2
            residuals.append(torch.ones(2, channels, side, side))
    more = unet(x, 10, context, down_block_additional_residuals=residuals,
                mid_block_additional_residual=torch.ones(2, width[-1], side, side)).sample
result = [plain, more]
""",
    "the values of settings as attributes": UNET
    + """
result = [unet.config.in_channels, unet.config.sample_size, str(unet.dtype), str(unet.device)]
""",
    "slices of attention": UNET
    + """
unet.set_attention_slice("auto")
with torch.no_grad():
    result = unet(x, 10, context).sample
""",
    "fuse projections of a model": UNET
    + """
unet.fuse_qkv_projections()
with torch.no_grad():
    out = unet(x, 10, context).sample
unet.unfuse_qkv_projections()
result = out
""",
    "FreeU of a model": UNET
    + """
unet.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
with torch.no_grad():
    out = unet(x, 10, context).sample
unet.disable_freeu()
result = out
""",
    "a VAE back and forth": VAE
    + """
with torch.no_grad():
    dist = vae.encode(x).latent_dist
    z = dist.sample(torch.manual_seed(1))
    result = [dist.mean, dist.std, z, vae.decode(z).sample, vae(x, sample_posterior=True,
              generator=torch.manual_seed(2)).sample, dist.kl(), dist.nll(z)]
""",
    "switches of a VAE": VAE
    + """
vae.enable_slicing(); a = vae.use_slicing
vae.enable_tiling(); b = vae.use_tiling
vae.disable_slicing(); vae.disable_tiling()
result = [a, b, vae.use_slicing, vae.use_tiling]
""",
    "slices of a VAE": VAE
    + """
vae.enable_slicing()
with torch.no_grad():
    result = vae.decode(torch.randn(3, 4, 8, 8, generator=torch.manual_seed(0))).sample
""",
    "a model of settings": UNET
    + """
torch.manual_seed(3)
other = UNet2DConditionModel.from_config(unet.config)
other.register_to_config(sample_size=7)
result = [other.config.sample_size, unet.config.sample_size, other.conv_in.weight]
""",
    "any model": """
from diffusers import AutoModel
unet = AutoModel.from_pretrained(SD, subfolder="unet")
vae = AutoModel.from_pretrained(SD, subfolder="vae")
result = [unet, unet.conv_in.weight, vae, vae.encoder.conv_in.weight]
""",
    "any model of transformers": """
from diffusers import AutoModel
encoder = AutoModel.from_pretrained(SD, subfolder="text_encoder")
result = [encoder, encoder.state_dict()["text_model.embeddings.token_embedding.weight"]
          if "text_model.embeddings.token_embedding.weight" in encoder.state_dict()
          else next(iter(encoder.state_dict().values()))]
""",
    "any model from the hub": """
from diffusers import AutoModel
unet = AutoModel.from_pretrained(HUB_SD, subfolder="unet", torch_dtype="auto")
result = [unet, unet.conv_in.weight]
""",
    "weights of a first UNet": DRAWN.format(name="UNet2DConditionModel", settings=SMALL_UNET),
    "weights of a first UNet with linear projections": DRAWN.format(
        name="UNet2DConditionModel", settings=SMALL_UNET + ", use_linear_projection=True"
    ),
    "weights of a first XL UNet": DRAWN.format(
        name="UNet2DConditionModel",
        settings=SMALL_UNET + ", use_linear_projection=True, addition_embed_type='text_time', "
        "addition_time_embed_dim=8, projection_class_embeddings_input_dim=80, "
        "transformer_layers_per_block=(1, 2), time_cond_proj_dim=16",
    ),
    "weights of a first unconditional UNet": DRAWN.format(
        name="UNet2DModel",
        settings="""block_out_channels=(32, 64), layers_per_block=1, sample_size=16,
    norm_num_groups=8, down_block_types=("DownBlock2D", "AttnDownBlock2D"),
    up_block_types=("AttnUpBlock2D", "UpBlock2D"), attention_head_dim=8""",
    ),
    "weights of a first VAE": DRAWN.format(
        name="AutoencoderKL",
        settings="""block_out_channels=(32, 64), norm_num_groups=8, layers_per_block=2,
    down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2""",
    ),
    "weights of a first VQ model": DRAWN.format(
        name="VQModel",
        settings="""block_out_channels=(32, 64), norm_num_groups=8, num_vq_embeddings=20,
    down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2""",
    ),
    "weights of a first FLUX transformer": DRAWN.format(
        name="FluxTransformer2DModel",
        settings="""patch_size=1, in_channels=4, num_layers=1, num_single_layers=1,
    attention_head_dim=16, num_attention_heads=2, joint_attention_dim=32,
    pooled_projection_dim=32, axes_dims_rope=(4, 4, 8), guidance_embeds=True""",
    ),
    "weights of a first tiny autoencoder": DRAWN.format(
        name="AutoencoderTiny",
        settings="""encoder_block_out_channels=(16, 16), decoder_block_out_channels=(16, 16),
    num_encoder_blocks=(1, 2), num_decoder_blocks=(2, 1)""",
    ),
    "a tiny autoencoder": TINY
    + """
with torch.no_grad():
    z = vae.encode(x).latents
    result = [z, vae.decode(z).sample, vae(x).sample, vae.scale_latents(z),
              vae.unscale_latents(torch.rand(1, 4, 2, 2, generator=torch.manual_seed(0)))]
""",
    "a tiny autoencoder in a folder": TINY
    + """
vae.save_pretrained(HERE)
again, info = AutoencoderTiny.from_pretrained(HERE, output_loading_info=True)
names = sorted(again.state_dict())
result = [names, info["missing_keys"], dict(again.config)["block_out_channels"],
          again.decoder.layers[0].weight]
""",
    "slices of a tiny autoencoder": TINY
    + """
vae.enable_slicing()
vae.enable_tiling()
flags = [vae.use_slicing, vae.use_tiling]
vae.disable_tiling()
with torch.no_grad():
    result = [flags, vae.decode(torch.ones(2, 4, 8, 8), return_dict=False)[0]]
""",
    "a tiny autoencoder in a pipeline": """
import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline
torch.manual_seed(0)
vae = AutoencoderTiny(encoder_block_out_channels=(16, 16), decoder_block_out_channels=(16, 16),
                      num_encoder_blocks=(1, 2), num_decoder_blocks=(2, 1))
pipe = StableDiffusionPipeline.from_pretrained(SD, vae=vae, safety_checker=None)
result = pipe("a cat", num_inference_steps=2, generator=torch.manual_seed(0)).images[0]
""",
    "a tiny autoencoder encodes a picture": """
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
}
