"""Networks by themselves: files, counts, training, switches."""

_UNET = """
import torch
from diffusers import UNet2DConditionModel
unet = UNet2DConditionModel.from_pretrained(SD, subfolder="unet")
x = torch.randn(2, 4, 16, 16, generator=torch.manual_seed(0))
words = torch.randn(2, 7, 24, generator=torch.manual_seed(1))
"""

SCRIPTS = {
    "model: settings as arguments": """
from diffusers import UNet2DConditionModel
import torch
torch.manual_seed(0)
unet = UNet2DConditionModel.from_pretrained(
    SD, subfolder="unet", in_channels=9, low_cpu_mem_usage=False, ignore_mismatched_sizes=True)
result = [unet.config.in_channels, tuple(unet.conv_in.weight.shape), unet.conv_out.weight]
""",
    "model: where it goes": """
import torch
from diffusers import UNet2DConditionModel
unet = UNet2DConditionModel.from_pretrained(SD, subfolder="unet", device_map="cpu",
                                            torch_dtype=torch.float16)
result = [str(unet.device), str(unet.dtype), unet.conv_in.weight]
""",
    "model: how loading went": """
from diffusers import UNet2DConditionModel
unet, info = UNet2DConditionModel.from_pretrained(SD, subfolder="unet", output_loading_info=True)
result = [list(info["missing_keys"]), list(info["unexpected_keys"]), list(info["mismatched_keys"]),
          list(info["error_msgs"])]
""",
    "model: from the hub": """
from diffusers import UNet2DConditionModel
unet = UNet2DConditionModel.from_pretrained(HUB_SD, subfolder="unet")
result = unet.conv_out.weight
""",
    "model: a pickle": """
import os
from diffusers import AutoencoderKL
vae = AutoencoderKL.from_pretrained(SD, subfolder="vae")
vae.save_pretrained(HERE, safe_serialization=False)
result = [sorted(os.listdir(HERE)), AutoencoderKL.from_pretrained(HERE).encoder.conv_in.weight]
""",
    "model: how large": _UNET
    + """
unet.conv_in.requires_grad_(False)
result = [unet.num_parameters(), unet.num_parameters(only_trainable=True),
          unet.num_parameters(exclude_embeddings=True), unet.get_memory_footprint(),
          unet.get_memory_footprint(return_buffers=False)]
""",
    "model: another of its settings": _UNET
    + """
torch.manual_seed(3)
other = UNet2DConditionModel.from_config(unet.config)
other.register_to_config(sample_size=7)
result = [other.config.sample_size, unet.config.sample_size, other.conv_in.weight]
""",
    "model: settings that nobody knows": _UNET
    + """
unet.register_to_config(foo=5)
try:
    UNet2DConditionModel(num_attention_heads=2)
    kind = None
except ValueError as error:
    kind = type(error)
result = [unet.config.foo, unet.config["foo"], unet.foo, kind]
""",
    "model: weights of another shape": """
from diffusers import UNet2DConditionModel
try:
    UNet2DConditionModel.from_pretrained(SD, subfolder="unet", in_channels=9)
except ValueError:
    result = "refused"
""",
    "model: a map of devices": """
from diffusers import AutoencoderKL
vae = AutoencoderKL.from_pretrained(SD, subfolder="vae", device_map="cpu")
result = {name: str(place) for name, place in vae.hf_device_map.items()}
""",
    "model: slices of each layer": _UNET
    + """
unet.set_attention_slice([1] * len(unet.attn_processors))
result = [unet(x, 5, words).sample]
unet.set_attention_slice()
result += [unet(x, 5, words).sample]
for size in (100, [1]):
    try:
        unet.set_attention_slice(size)
    except ValueError:
        result += [size]
""",
    "model: stored small": """
import torch
from diffusers import UNet2DModel
torch.manual_seed(0)
unet = UNet2DModel(
    block_out_channels=(64, 64), down_block_types=("DownBlock2D",) * 2, norm_num_groups=8,
    up_block_types=("UpBlock2D",) * 2, attention_head_dim=None).eval().requires_grad_(False)
x, whole = torch.randn(1, 3, 8, 8), unet.get_memory_footprint()
plain = unet(x, 5).sample
unet.enable_layerwise_casting(storage_dtype=torch.bfloat16, compute_dtype=torch.float32)
result = [unet.get_memory_footprint() < 0.6 * whole, bool((unet(x, 5).sample - plain).abs().max()
                                                           < 0.05), unet.dtype]
""",
    "AutoModel: from the hub": """
from diffusers import AutoModel
unet = AutoModel.from_pretrained(HUB_SD, subfolder="unet", torch_dtype="auto")
result = [unet, unet.conv_in.weight]
""",
    "model: where it is from, by name": """
from diffusers import UNet2DConditionModel
unet = UNet2DConditionModel.from_pretrained(pretrained_model_name_or_path=SD, subfolder="unet",
                                            low_cpu_mem_usage=True, torch_dtype=None)
result = [unet.dtype, unet.training, unet.conv_in.weight]
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
    "model: which processors there are": _UNET
    + """
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
kinds = lambda: sorted({type(p).__name__ for p in unet.attn_processors.values()})
result = [kinds()]
unet.set_default_attn_processor()
result += [kinds(), unet(x, 5, words).sample]
unet.set_attn_processor(AttnProcessor2_0())
result += [kinds()]
unet.set_attn_processor({name: AttnProcessor() for name in unet.attn_processors})
result += [kinds()]
unet.set_attention_backend("_native_math")
result += [unet(x, 5, words).sample]
""",
    "model: the processor of a layer": _UNET
    + """
from diffusers.models.attention_processor import AttnProcessor
attention = unet.mid_block.attentions[0].transformer_blocks[0].attn1
result = [type(attention.processor).__name__]
attention.set_processor(AttnProcessor())
result += [type(attention.get_processor()).__name__, unet(x, 5, words).sample,
           sum(hasattr(module, "set_processor") for module in unet.modules())]
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
except (OSError, TypeError):
    result = "refused"
""",
    "model: a class of one's own": """
import torch
from diffusers import ConfigMixin, ModelMixin, UNet2DModel
from diffusers.configuration_utils import register_to_config
class Tiny(ModelMixin, ConfigMixin):
    @register_to_config
    def __init__(self, width: int = 4, depth: int = 2):
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Linear(width, width) for _ in range(depth))
    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x
torch.manual_seed(0)
model = Tiny(width=6)
model.save_pretrained(HERE)
again = Tiny.from_pretrained(HERE)
other = Tiny.from_config(again.config, depth=1)
result = [again.config.width, again.config["depth"], len(other.layers), again.num_parameters(),
          again(torch.ones(1, 6)), isinstance(again, ModelMixin), isinstance(again, UNet2DModel),
          isinstance(other, ConfigMixin)]
""",
    "model: a scheduler of one's own": """
from diffusers import ConfigMixin, DDIMScheduler, SchedulerMixin
from diffusers.configuration_utils import register_to_config
class Steady(SchedulerMixin, ConfigMixin):
    order = 1
    @register_to_config
    def __init__(self, steps: int = 10):
        self.count = steps
Steady(steps=3).save_pretrained(HERE)
again = Steady.from_pretrained(HERE)
result = [again.config.steps, again.count, isinstance(again, SchedulerMixin),
          issubclass(DDIMScheduler, SchedulerMixin)]
""",
    "model: no such folder": """
from diffusers import UNet2DModel
try:
    UNet2DModel.from_pretrained("./nothing/is/here")
except OSError:
    result = "none"
""",
}
