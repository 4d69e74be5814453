"""Low-rank weights: loading, mixing, fusing, saving, training."""

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
    "load low-rank weights": PIPE
    + """
plain = draw()
pipe.load_lora_weights(LORA)
result = [plain, draw()]
""",
    "load by the file's name": PIPE
    + """
pipe.load_lora_weights(LORA, weight_name="pytorch_lora_weights.safetensors", adapter_name="style",
                       low_cpu_mem_usage=True, use_safetensors=True, local_files_only=True)
result = [pipe.get_active_adapters(), pipe.get_list_adapters(), draw()]
""",
    "load the tensors themselves": PIPE
    + SECOND
    + """
pipe.load_lora_weights(other, adapter_name="other")
result = [pipe.get_active_adapters(), draw()]
""",
    "load twice": PIPE
    + SECOND
    + """
pipe.load_lora_weights(LORA, adapter_name="a")
pipe.load_lora_weights(other, adapter_name="b")
result = [pipe.get_active_adapters(), draw()]
""",
    "load two and mix": PIPE
    + SECOND
    + """
pipe.load_lora_weights(LORA, adapter_name="a")
pipe.load_lora_weights(other, adapter_name="b")
pipe.set_adapters(["a", "b"], adapter_weights=[0.7, 0.5])
result = [sorted(pipe.get_active_adapters()), draw()]
""",
    "weights by component": PIPE
    + """
pipe.load_lora_weights(LORA, adapter_name="a")
pipe.set_adapters("a", {"unet": 0.3})
result = draw()
""",
    "weights by block": PIPE
    + """
pipe.load_lora_weights(LORA, adapter_name="a")
pipe.set_adapters("a", {"unet": {"down": 0.3, "mid": 0.9, "up": {"block_1": [0.1, 0.2, 0.3]}}})
result = pipe.get_active_adapters()
""",
    "no weights": PIPE
    + """
pipe.load_lora_weights(LORA, adapter_name="a")
pipe.set_adapters("a", None)
first = draw()
pipe.set_adapters(["a"], [None])
result = [first, draw()]
""",
    "the scale of a call": PIPE
    + """
pipe.load_lora_weights(LORA)
result = [draw(cross_attention_kwargs={"scale": 0.5}), draw(cross_attention_kwargs={"scale": 0.0}),
          draw()]
""",
    "off and on": PIPE
    + """
pipe.load_lora_weights(LORA)
pipe.disable_lora()
off = draw()
pipe.enable_lora()
result = [off, draw()]
""",
    "delete one of two": PIPE
    + SECOND
    + """
pipe.load_lora_weights(LORA, adapter_name="a")
pipe.load_lora_weights(other, adapter_name="b")
pipe.set_adapters(["a", "b"])
pipe.delete_adapters("a")
result = [pipe.get_list_adapters(), pipe.get_active_adapters(), draw()]
""",
    "fuse and unfuse": PIPE
    + """
pipe.load_lora_weights(LORA)
pipe.fuse_lora()
fused = draw()
pipe.unfuse_lora()
result = [fused, pipe.num_fused_loras, draw()]
""",
    "fuse with a scale": PIPE
    + """
pipe.load_lora_weights(LORA)
pipe.fuse_lora(lora_scale=0.7)
result = [draw(), pipe.num_fused_loras]
""",
    "fuse and unload": PIPE
    + """
pipe.load_lora_weights(LORA)
pipe.fuse_lora()
pipe.unload_lora_weights()
result = draw()
""",
    "fuse and save": PIPE
    + """
pipe.load_lora_weights(LORA)
pipe.fuse_lora(safe_fusing=True)
pipe.unload_lora_weights()
pipe.save_pretrained(HERE)
pipe = StableDiffusionPipeline.from_pretrained(HERE, safety_checker=None)
result = draw()
""",
    "fuse some components": PIPE
    + """
pipe.load_lora_weights(LORA, adapter_name="a")
pipe.fuse_lora(components=["unet"], adapter_names=["a"])
n = pipe.num_fused_loras
pipe.unfuse_lora(components=["unet"])
result = [n, pipe.num_fused_loras, draw()]
""",
    "unload": PIPE
    + """
pipe.load_lora_weights(LORA)
pipe.unload_lora_weights()
result = [draw(), pipe.get_list_adapters()]
""",
    "move low-rank weights": PIPE
    + """
pipe.load_lora_weights(LORA, adapter_name="a")
pipe.set_lora_device(["a"], "cpu")
result = draw()
""",
    "read low-rank weights": """
from diffusers import StableDiffusionPipeline
found = StableDiffusionPipeline.lora_state_dict(LORA)
state, alphas = found[0], found[1]
result = [dict(state), dict(alphas or {})]
""",
    "save low-rank weights": PIPE
    + """
from safetensors.torch import load_file
tensors = make()
layers = {name.removeprefix("unet."): tensor for name, tensor in tensors.items()}
StableDiffusionPipeline.save_lora_weights(HERE / "out", unet_lora_layers=layers)
pipe.load_lora_weights(HERE / "out")
result = [load_file(HERE / "out/pytorch_lora_weights.safetensors"), draw()]
""",
    "save low-rank weights with settings": """
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
    "save FLUX's low-rank weights": """
import torch
from safetensors.torch import load_file
from diffusers import FluxPipeline
FluxPipeline.save_lora_weights(HERE, transformer_lora_layers={"x.lora_A.weight": torch.ones(2, 3)},
                               text_encoder_lora_layers={"y.lora_A.weight": torch.ones(2, 3)})
result = load_file(HERE / "pytorch_lora_weights.safetensors")
""",
    "low-rank weights of kohya": PIPE
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
    "train low-rank weights": """
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
    "train and save low-rank weights": """
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
    "an adapter twice": PIPE
    + """
pipe.load_lora_weights(LORA, adapter_name="a")
try:
    pipe.load_lora_weights(LORA, adapter_name="a")
    result = "taken"
except ValueError:
    result = "refused"
""",
    "low-rank weights of XL": """
import torch
from diffusers import StableDiffusionXLPipeline
pipe = StableDiffusionXLPipeline.from_pretrained(XL)
g = torch.Generator().manual_seed(1)
layers = {}
for name, p in sorted(pipe.unet.named_parameters()):
    if name.endswith("attn2.to_q.weight"):
        key = "unet." + name.removesuffix("weight")
        layers[key + "lora_A.weight"] = torch.randn(2, p.shape[1], generator=g)
        layers[key + "lora_B.weight"] = torch.randn(p.shape[0], 2, generator=g)
pipe.load_lora_weights(layers, adapter_name="x")
pipe.set_adapters("x", 0.5)
result = pipe("a cat", num_inference_steps=2, generator=torch.manual_seed(0),
              output_type="np").images
""",
    "low-rank weights of FLUX": """
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
