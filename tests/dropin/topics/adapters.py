"""Low-rank weights: mixed by hand, fused, trained, and read and written without a pipeline."""

PIPE = """
import torch
from safetensors.torch import save_file
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD2, safety_checker=None)
def make(scale=1.0, names=("to_q.weight", "to_out.0.weight")):
    g, found = torch.Generator().manual_seed(1), {}
    for name, p in sorted(pipe.unet.named_parameters()):
        if name.endswith(names):
            key = "unet." + name.removesuffix("weight")
            found[key + "lora_A.weight"] = torch.randn(2, p.shape[1], generator=g)
            found[key + "lora_B.weight"] = scale * torch.randn(p.shape[0], 2, generator=g)
    return found
(HERE / "lora").mkdir()
LORA = str(HERE / "lora")
save_file(make(), LORA + "/pytorch_lora_weights.safetensors")
def draw(**arguments):
    return pipe("a cat", num_inference_steps=2, generator=torch.manual_seed(0), output_type="np",
                **arguments).images
"""

PEFT = (
    PIPE
    + """
from peft import LoraConfig
plain = draw()
pipe.unet.add_adapter(LoraConfig(r=2, lora_alpha=3, target_modules=["to_k", "to_out.0"]), "mine")
for i, (name, p) in enumerate(sorted(pipe.unet.named_parameters())):
    if "lora_" in name:
        p.data = torch.randn(p.shape, generator=torch.Generator().manual_seed(i)) / 2
"""
)

CONTROL = """
import torch
from PIL import Image
from diffusers import FluxControlPipeline
picture = Image.open(PICTURE).convert("RGB")
pipe = FluxControlPipeline.from_pretrained(FLUX)
def layers(channels):
    width = pipe.transformer.x_embedder.out_features
    shapes = {"x_embedder.lora_A": (2, channels), "x_embedder.lora_B": (width, 2),
              "transformer_blocks.0.attn.to_q.lora_A": (2, width),
              "transformer_blocks.0.attn.to_q.lora_B": (width, 2)}
    g = torch.Generator().manual_seed(channels)
    return {f"transformer.{name}.weight": torch.randn(shape, generator=g) / 2
            for name, shape in shapes.items()}
def follow():
    return pipe("a cat", control_image=picture, height=32, width=32,
                num_inference_steps=2, generator=torch.manual_seed(0), output_type="np").images
"""

SECOND = """
other = make(-0.5, ("to_k.weight",))
"""

SCRIPTS = {
    "lora: weights by block, some by layer": PIPE
    + """
pipe.load_lora_weights(LORA, adapter_name="a")
pipe.set_adapters("a", {"unet": {"down": 0.3, "mid": 0.9, "up": {"block_1": [0.1, 0.2, 0.3]}}})
result = [pipe.get_active_adapters(), draw()]
""",
    "lora: no weights": PIPE
    + """
pipe.load_lora_weights(LORA, adapter_name="a")
pipe.set_adapters("a", None)
first = draw()
pipe.set_adapters(["a"], [None])
result = [first, draw()]
""",
    "lora: one of two forgotten": PIPE
    + SECOND
    + """
pipe.load_lora_weights(LORA, adapter_name="a")
pipe.load_lora_weights(other, adapter_name="b")
pipe.set_adapters(["a", "b"])
pipe.delete_adapters("a")
result = [pipe.get_list_adapters(), pipe.get_active_adapters(), draw()]
""",
    "lora: fused with a scale, and counted": PIPE
    + """
pipe.load_lora_weights(LORA)
pipe.fuse_lora(lora_scale=0.7)
result = [draw(), pipe.num_fused_loras]
""",
    "lora: some components fused": PIPE
    + """
pipe.load_lora_weights(LORA, adapter_name="a")
pipe.fuse_lora(components=["unet"], adapter_names=["a"])
n = pipe.num_fused_loras
pipe.unfuse_lora(components=["unet"])
result = [n, pipe.num_fused_loras, draw()]
""",
    "lora: moved": PIPE
    + """
pipe.load_lora_weights(LORA, adapter_name="a")
pipe.set_lora_device(["a"], "cpu")
result = draw()
""",
    "lora: a name twice": PIPE
    + """
pipe.load_lora_weights(LORA, adapter_name="a")
try:
    pipe.load_lora_weights(LORA, adapter_name="a")
    result = "taken"
except ValueError:
    result = "refused"
""",
    "lora: its tensors": """
from diffusers import StableDiffusionPipeline
found = StableDiffusionPipeline.lora_state_dict(LORA)
state, alphas = found[0], found[1]
result = [dict(state), dict(alphas or {})]
""",
    "lora: saved with settings": """
from safetensors import safe_open
import torch, json
from diffusers import StableDiffusionXLPipeline
layers = {"down_blocks.0.a.lora_A.weight": torch.ones(2, 3)}
text = {"text_model.b.lora_A.weight": torch.zeros(2, 3)}
StableDiffusionXLPipeline.save_lora_weights(
    str(HERE), unet_lora_layers=layers, text_encoder_lora_layers=text,
    text_encoder_2_lora_layers={"c.lora_A.weight": torch.ones(1, 3)},
    unet_lora_adapter_metadata={"r": 4, "lora_alpha": 8},
    is_main_process=True, safe_serialization=True, weight_name="mine.safetensors")
with safe_open(HERE / "mine.safetensors", "pt") as file:
    meta = file.metadata()
    result = [sorted(file.keys()), json.loads(meta["lora_adapter_metadata"]), meta["format"]]
""",
    "lora: saved of FLUX": """
import torch
from safetensors.torch import load_file
from diffusers import FluxPipeline
FluxPipeline.save_lora_weights(HERE, transformer_lora_layers={"x.lora_A.weight": torch.ones(2, 3)},
                               text_encoder_lora_layers={"y.lora_A.weight": torch.ones(2, 3)})
result = load_file(HERE / "pytorch_lora_weights.safetensors")
""",
    "lora: kohya's names": PIPE
    + """
tensors = make()
named = {}
for name, tensor in tensors.items():
    layer, _, kind = name.partition(".lora_")
    key = "lora_unet_" + layer.removeprefix("unet.").replace(".", "_")
    named[f"{key}.lora_{'down' if kind.startswith('A') else 'up'}.weight"] = tensor
    named[f"{key}.alpha"] = torch.tensor(1.0)
pipe.load_lora_weights(named)
result = draw()
""",
    "lora: trained": """
import torch
from peft import LoraConfig
from diffusers import UNet2DConditionModel
unet = UNet2DConditionModel.from_pretrained(SD, subfolder="unet")
unet.requires_grad_(False)
torch.manual_seed(0)
unet.add_adapter(LoraConfig(r=2, lora_alpha=2, init_lora_weights="gaussian",
                            target_modules=["to_k", "to_q", "to_v", "to_out.0"]))
layers = [p for p in unet.parameters() if p.requires_grad]
optimizer = torch.optim.SGD(layers, lr=0.1)
x = torch.randn(1, 4, 16, 16, generator=torch.manual_seed(0))
context = torch.randn(1, 7, 24, generator=torch.manual_seed(1))
losses = []
for _ in range(3):
    loss = (unet(x, 10, context).sample - x).square().mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    losses.append(loss.item())
result = [len(layers), losses, sum(p.numel() for p in layers)]
""",
    "lora: trained and saved": """
import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD, safety_checker=None)
unet = pipe.unet
torch.manual_seed(0)
unet.add_adapter(LoraConfig(r=2, lora_alpha=2, init_lora_weights="gaussian",
                            target_modules=["to_k", "to_q"]))
layers = get_peft_model_state_dict(unet)
StableDiffusionPipeline.save_lora_weights(HERE, unet_lora_layers=layers)
from safetensors.torch import load_file
found = load_file(HERE / "pytorch_lora_weights.safetensors")
result = {name: tuple(tensor.shape) for name, tensor in found.items()}
""",
    "lora: FLUX, fused": """
import torch
from diffusers import FluxPipeline
pipe = FluxPipeline.from_pretrained(FLUX)
g = torch.Generator().manual_seed(1)
layers = {}
for name, p in sorted(pipe.transformer.named_parameters()):
    if name.endswith("attn.to_q.weight"):
        key = "transformer." + name.removesuffix("weight")
        layers[key + "lora_A.weight"] = torch.randn(2, p.shape[1], generator=g)
        layers[key + "lora_B.weight"] = torch.randn(p.shape[0], 2, generator=g)
pipe.load_lora_weights(layers, adapter_name="x")
pipe.fuse_lora(lora_scale=0.5)
result = pipe("a cat", num_inference_steps=2, generator=torch.manual_seed(0), output_type="np",
              height=32, width=32).images
""",
    "lora: trained, and scaled in a call": PEFT
    + """
result = [plain, draw(), draw(cross_attention_kwargs={"scale": 0.5}),
          draw(cross_attention_kwargs={"scale": 0.0}), draw()]
""",
    "lora: trained, weighed, off and on": PEFT
    + """
names = [pipe.get_list_adapters(), pipe.get_active_adapters()]
pipe.set_adapters("mine", 0.5)
half = draw()
pipe.disable_lora()
off = draw()
pipe.enable_lora()
result = [names, half, off, draw()]
""",
    "lora: trained, fused and back": PEFT
    + """
pipe.fuse_lora(lora_scale=0.5, components=["unet"])
fused = [draw(), pipe.num_fused_loras]
pipe.unfuse_lora(components=["unet"])
result = [*fused, pipe.num_fused_loras]
""",
    "lora: trained, unloaded and loaded": PEFT
    + """
from peft.utils import get_peft_model_state_dict
layers = get_peft_model_state_dict(pipe.unet, adapter_name="mine")
with_it = draw()
pipe.unload_lora_weights()
without = draw()
StableDiffusionPipeline.save_lora_weights(HERE / "mine", unet_lora_layers=layers)
pipe.load_lora_weights(HERE / "mine", adapter_name="again")
result = [with_it, without, draw(), pipe.get_active_adapters()]
""",
    "lora: trained, and deleted": PEFT
    + """
pipe.delete_adapters("mine")
result = [draw()]
""",
    "lora: a scale in a call of the UNet": PEFT
    + """
x, context = torch.ones(1, 4, 8, 8), torch.ones(1, 7, pipe.unet.config.cross_attention_dim)
with torch.no_grad():
    result = [pipe.unet(x, 5, context, cross_attention_kwargs=asked).sample
              for asked in (None, {"scale": 0.5}, {"scale": 0.0})]
""",
    "lora: of the UNet by itself": PEFT
    + """
whole = draw()
pipe.unet.save_lora_adapter(HERE / "own", "mine")
pipe.unet.unload_lora()
without = draw()
pipe.unet.load_lora_adapter(HERE / "own", prefix=None, adapter_name="a",
                            weight_name="pytorch_lora_weights.safetensors")
again = draw()
pipe.unet.set_adapters(["a"], [0.5])
half = draw()
pipe.unet.disable_lora()
off = draw()
pipe.unet.enable_lora()
pipe.unet.fuse_lora()
result = [whole, without, again, half, off, draw()]
""",
    "lora: into a part": PIPE
    + """
tensors, alphas = StableDiffusionPipeline.lora_state_dict(LORA)
StableDiffusionPipeline.load_lora_into_unet(
    tensors, alphas, pipe.unet, adapter_name="a", _pipeline=pipe)
result = [draw(), pipe.get_active_adapters()]
""",
    "lora: what was noted": """
from diffusers import FluxPipeline, StableDiffusionXLPipeline, StableDiffusionPipeline
import torch
layers = {"down_blocks.0.a.lora_A.weight": torch.ones(2, 3)}
noted = {"r": 4, "lora_alpha": 8}
result = []
for kind in (StableDiffusionPipeline, StableDiffusionXLPipeline):
    kind.save_lora_weights(HERE, unet_lora_layers=layers, unet_lora_adapter_metadata=noted)
    result.append(list(kind.lora_state_dict(str(HERE), return_lora_metadata=True)))
FluxPipeline.save_lora_weights(HERE, transformer_lora_layers=layers,
                               transformer_lora_adapter_metadata=noted)
result.append(list(FluxPipeline.lora_state_dict(str(HERE), return_lora_metadata=True)))
""",
    "lora: nothing to switch": PIPE
    + """
pipe.disable_lora()
pipe.enable_lora()
pipe.unfuse_lora(components=["unet"])
pipe.unload_lora_weights()
pipe.load_lora_weights(LORA, adapter_name="a")
pipe.delete_adapters("nobody")
pipe.set_adapters("a", {"foo": 1.0})
try:
    pipe.set_adapters("nobody")
except ValueError:
    result = [draw(), pipe.get_list_adapters()]
""",
    "lora: more than it needs": PIPE
    + """
given = make()
more = given | {f"{next(iter(given))}.note": torch.tensor(1.0)}
pipe.load_lora_weights(more)
result = draw()
""",
    "lora: FLUX with room for a picture": CONTROL
    + """
plain = pipe.transformer.config.in_channels
pipe.load_lora_weights(layers(2 * plain), adapter_name="depth")
result = [follow(), pipe.transformer.config.in_channels, pipe.transformer.x_embedder.in_features]
pipe.unload_lora_weights(reset_to_overwritten_params=True)
result += [pipe.transformer.config.in_channels]
""",
    "lora: FLUX with room, beside another": CONTROL
    + """
plain = pipe.transformer.config.in_channels
pipe.load_lora_weights(layers(2 * plain), adapter_name="depth")
pipe.load_lora_weights(layers(plain), adapter_name="style")
pipe.set_adapters(["depth", "style"], [0.85, 0.125])
result = follow()
""",
    "lora: FLUX Control, with one of FLUX": CONTROL
    + """
from diffusers import FluxTransformer2DModel
settings = {**pipe.transformer.config, "in_channels": 2 * pipe.transformer.config.in_channels,
            "out_channels": pipe.transformer.config.in_channels}
torch.manual_seed(0)
made = FluxTransformer2DModel.from_config(settings)
for name, p in sorted(made.named_parameters()):
    p.data = torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())) / 8
narrow = layers(pipe.transformer.config.in_channels)
norms = {"transformer.transformer_blocks.0.attn.norm_q.weight": torch.full(
    made.transformer_blocks[0].attn.norm_q.weight.shape, 0.5)}
pipe = FluxControlPipeline.from_pipe(pipe, transformer=made)
pipe.load_lora_weights(narrow | norms)
changed = follow()
pipe.unload_lora_weights()
result = [changed, follow()]
""",
}
