"""Networks by themselves: loading, counting, training, attention."""

_UNET = """
import torch
from diffusers import UNet2DConditionModel
unet = UNet2DConditionModel.from_pretrained(SD, subfolder="unet")
x = torch.randn(2, 4, 16, 16, generator=torch.manual_seed(0))
words = torch.randn(2, 7, 24, generator=torch.manual_seed(1))
"""

_VAE = """
import torch
from diffusers import AutoencoderKL
vae = AutoencoderKL.from_pretrained(SD, subfolder="vae")
picture = torch.rand(2, 3, 32, 32, generator=torch.manual_seed(0)) * 2 - 1
"""

SCRIPTS = {
    "model: where it is from, by name": """
from diffusers import UNet2DConditionModel
unet = UNet2DConditionModel.from_pretrained(pretrained_model_name_or_path=SD, subfolder="unet",
                                            low_cpu_mem_usage=True, torch_dtype=None)
result = [unet.dtype, unet.training, unet.conv_in.weight]
""",
    "model: nine channels for inpainting": """
from diffusers import UNet2DConditionModel
unet = UNet2DConditionModel.from_pretrained(SD, subfolder="unet", in_channels=9,
                                            low_cpu_mem_usage=False, ignore_mismatched_sizes=True)
result = [unet.config.in_channels, unet.conv_in.weight.shape, unet.conv_out.weight]
""",
    "model: a device map": """
from diffusers import AutoencoderKL
vae = AutoencoderKL.from_pretrained(SD, subfolder="vae", device_map="cpu")
result = [vae.device, vae.decoder.conv_in.weight]
""",
    "model: what the file lacked": """
from diffusers import UNet2DConditionModel
unet, info = UNet2DConditionModel.from_pretrained(SD, subfolder="unet", output_loading_info=True)
result = [len(info["missing_keys"]), len(info["unexpected_keys"]), len(info["mismatched_keys"])]
""",
    "model: saved by the main process": """
from diffusers import AutoencoderKL
vae = AutoencoderKL.from_pretrained(SD, subfolder="vae")
vae.save_pretrained(HERE / "a", is_main_process=True, safe_serialization=True)
again = AutoencoderKL.from_pretrained(HERE / "a")
result = [sorted(p.name for p in (HERE / "a").iterdir()), again.quant_conv.weight]
""",
    "model: a variant": """
import torch
from diffusers import UNet2DConditionModel
unet = UNet2DConditionModel.from_pretrained(SD, subfolder="unet", torch_dtype=torch.float16)
unet.save_pretrained(HERE / "a", variant="fp16")
again = UNet2DConditionModel.from_pretrained(HERE / "a", variant="fp16", torch_dtype=torch.float16)
result = [sorted(p.name for p in (HERE / "a").iterdir()), again.dtype, again.conv_in.weight]
""",
    "model: shards": """
from diffusers import UNet2DConditionModel
unet = UNet2DConditionModel.from_pretrained(SD, subfolder="unet")
unet.save_pretrained(HERE / "a", max_shard_size="100KB")
again = UNet2DConditionModel.from_pretrained(HERE / "a")
result = [(HERE / "a" / "diffusion_pytorch_model.safetensors.index.json").exists(),
          again.conv_out.weight]
""",
    "model: out of its settings": """
from diffusers import UNet2DConditionModel
unet = UNet2DConditionModel.from_pretrained(SD, subfolder="unet")
new = UNet2DConditionModel.from_config(unet.config)
other = UNet2DConditionModel.from_config(SD, subfolder="unet")
result = [new.num_parameters(), other.config["cross_attention_dim"], len(new.state_dict())]
""",
    "model: how many numbers": """
from diffusers import UNet2DConditionModel
unet = UNet2DConditionModel.from_pretrained(SD, subfolder="unet")
everything = unet.num_parameters()
unet.requires_grad_(False)
unet.conv_in.requires_grad_(True)
result = [everything, unet.num_parameters(only_trainable=True),
          unet.num_parameters(exclude_embeddings=True), unet.get_memory_footprint()]
""",
    "model: dtype and device": """
import torch
from diffusers import AutoencoderKL
vae = AutoencoderKL.from_pretrained(SD, subfolder="vae").to(torch.float16)
result = [vae.dtype, vae.device, next(vae.parameters()).dtype]
""",
    "model: gradients, recomputed": _UNET
    + """
def gradients():
    unet.zero_grad()
    unet(x, 5, words).sample.pow(2).mean().backward()
    return [unet.conv_in.weight.grad.clone(), unet.mid_block.resnets[0].conv1.weight.grad.clone()]
unet.train()
kept = gradients()
unet.enable_gradient_checkpointing()
on = unet.is_gradient_checkpointing
again = gradients()
unet.disable_gradient_checkpointing()
result = [kept, again, on, unet.is_gradient_checkpointing]
""",
    "model: a training step": _UNET
    + """
from diffusers import DDPMScheduler
scheduler = DDPMScheduler.from_pretrained(SD, subfolder="scheduler")
optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-3)
unet.train()
losses = []
for step in range(3):
    noise = torch.randn(x.shape, generator=torch.manual_seed(step))
    t = torch.tensor([100, 900])
    loss = torch.nn.functional.mse_loss(unet(scheduler.add_noise(x, noise, t), t, words).sample,
                                        noise)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    losses.append(loss.item())
result = torch.tensor(losses)
""",
    "model: attention processors": _UNET
    + """
from diffusers.models.attention_processor import AttnProcessor
before = unet(x, 5, words).sample
names = sorted(unet.attn_processors)
unet.set_attn_processor(AttnProcessor())
one = unet(x, 5, words).sample
unet.set_default_attn_processor()
result = [names, before, one, unet(x, 5, words).sample]
""",
    "model: fused attention of torch": _UNET
    + """
from diffusers.models.attention_processor import AttnProcessor2_0
unet.set_attn_processor(AttnProcessor2_0())
result = [unet(x, 5, words).sample, len(set(map(type, unet.attn_processors.values())))]
""",
    "model: processors for each layer": _UNET
    + """
from diffusers.models.attention_processor import AttnProcessor2_0
unet.set_attn_processor({name: AttnProcessor2_0() for name in unet.attn_processors})
result = unet(x, 5, words).sample
""",
    "model: an attention backend": _UNET
    + """
unet.set_attention_backend("native")
one = unet(x, 5, words).sample
unet.reset_attention_backend()
result = [one, unet(x, 5, words).sample]
""",
    "model: fused projections": _UNET
    + """
before = unet(x, 5, words).sample
unet.fuse_qkv_projections()
fused = unet(x, 5, words).sample
unet.unfuse_qkv_projections()
result = [before, fused, unet(x, 5, words).sample]
""",
    "model: compiled blocks": _UNET
    + """
unet.compile_repeated_blocks(backend="eager")
result = unet(x, 5, words).sample
""",
    "model: FreeU at the network": _UNET
    + """
before = unet(x, 5, words).sample
unet.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
on = unet(x, 5, words).sample
unet.disable_freeu()
result = [on, before, unet(x, 5, words).sample]
""",
    "model: sliced attention": _UNET
    + """
unet.set_attention_slice("max")
result = unet(x, 5, words).sample
""",
    "UNet: all arguments by position": _UNET
    + """
result = unet(x, torch.tensor([5, 7]), words, None, None, None, None, None, None, None, None,
              None, False)[0]
""",
    "UNet: tokens that do not count": _UNET
    + """
mask = torch.ones(2, 7)
mask[:, 4:] = 0
result = unet(x, 5, words, encoder_attention_mask=mask).sample
""",
    "UNet: residuals of a ControlNet": _UNET
    + """
down = [x.new_zeros(1)] * 12
result = unet(x, 5, words, mid_block_additional_residual=torch.zeros(1)).sample
""",
    "UNet: XL's added conditions": """
import torch
from diffusers import UNet2DConditionModel
unet = UNet2DConditionModel.from_pretrained(XL, subfolder="unet")
width = unet.config.cross_attention_dim
text = unet.config.projection_class_embeddings_input_dim - 6 * unet.config.addition_time_embed_dim
x = torch.randn(1, 4, 16, 16, generator=torch.manual_seed(0))
words = torch.randn(1, 7, width, generator=torch.manual_seed(1))
added = {"text_embeds": torch.ones(1, text), "time_ids": torch.tensor([[32, 32, 0, 0, 32, 32.0]])}
result = unet(x, 3, words, added_cond_kwargs=added).sample
""",
    "VAE: there and back": _VAE
    + """
with torch.no_grad():
    posterior = vae.encode(picture).latent_dist
    z = posterior.mode() * vae.config.scaling_factor
    back = vae.decode(z / vae.config.scaling_factor).sample
result = [z, back, posterior.sample(torch.manual_seed(0)), posterior.kl(), posterior.std]
""",
    "VAE: forward": _VAE
    + """
with torch.no_grad():
    result = [vae(picture).sample, vae(picture, sample_posterior=True,
                                       generator=torch.manual_seed(0), return_dict=False)[0]]
""",
    "VAE: slicing": _VAE
    + """
vae.enable_slicing()
on = vae.use_slicing
with torch.no_grad():
    z = vae.encode(picture).latent_dist.mode()
vae.disable_slicing()
result = [z, on, vae.use_slicing, vae.use_tiling]
""",
    "VAE: tuples": _VAE
    + """
with torch.no_grad():
    (posterior,) = vae.encode(picture, return_dict=False)
    (decoded,) = vae.decode(posterior.mean, return_dict=False)
result = [posterior.mean, posterior.logvar, decoded]
""",
    "VAE: a loss": _VAE
    + """
vae.train()
posterior = vae.encode(picture).latent_dist
loss = (vae.decode(posterior.mode()).sample - picture).pow(2).mean() + 1e-3 * posterior.kl().mean()
loss.backward()
result = [loss.detach(), vae.encoder.conv_in.weight.grad]
""",
    "UNet2D: a class for pictures alone": """
import torch
from diffusers import UNet2DModel
torch.manual_seed(0)
unet = UNet2DModel(sample_size=16, block_out_channels=(16, 32), norm_num_groups=8,
                   down_block_types=("DownBlock2D", "AttnDownBlock2D"),
                   up_block_types=("AttnUpBlock2D", "UpBlock2D"), layers_per_block=1)
result = [unet.num_parameters(), unet.config.sample_size, unet.dtype,
          unet(torch.zeros(1, 3, 16, 16), 3).sample.shape]
""",
    "FLUX: the transformer": """
import torch
from diffusers import FluxTransformer2DModel
net = FluxTransformer2DModel.from_pretrained(FLUX, subfolder="transformer")
c = net.config
x = torch.randn(1, 16, c.in_channels, generator=torch.manual_seed(0))
words = torch.randn(1, 6, c.joint_attention_dim, generator=torch.manual_seed(1))
pooled = torch.randn(1, c.pooled_projection_dim, generator=torch.manual_seed(2))
ids = torch.zeros(16, 3)
ids[:, 1] = torch.arange(16) // 4
ids[:, 2] = torch.arange(16) % 4
with torch.no_grad():
    result = net(hidden_states=x, encoder_hidden_states=words, pooled_projections=pooled,
                 timestep=torch.tensor([0.5]), img_ids=ids, txt_ids=torch.zeros(6, 3),
                 guidance=torch.tensor([3.5]), joint_attention_kwargs={}, return_dict=False)[0]
""",
    "AutoModel: by the class in the settings": """
import torch
from diffusers import AutoModel
unet = AutoModel.from_pretrained(SD, subfolder="unet")
vae = AutoModel.from_pretrained(SD, subfolder="vae", torch_dtype=torch.float16)
result = [type(unet), type(vae), vae.dtype]
""",
    "AutoModel: out of a pipeline's folder": """
from diffusers import AutoModel
result = [type(AutoModel.from_pretrained(FLUX, subfolder="transformer")),
          type(AutoModel.from_pretrained(XL, subfolder="text_encoder")),
          type(AutoModel.from_pretrained(LDM, subfolder="vqvae"))]
""",
    "AutoModel: settings of a folder": """
from diffusers import AutoModel, UNet2DConditionModel
UNet2DConditionModel.from_pretrained(SD, subfolder="unet").save_pretrained(HERE / "unet")
again = AutoModel.from_pretrained(str(HERE / "unet"), use_safetensors=True)
result = [type(again), again.conv_in.weight]
""",
    "AutoModel: none to build": """
from diffusers import AutoModel
try:
    AutoModel()
    result = "built"
except Exception:
    result = "refused"
""",
}
