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
}
