"""Low-rank weights: loading, mixing, fusing, saving."""

_PIPE = """
import torch
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained(SD)
def draw(pipe=pipe, **given):
    return pipe("a cat", num_inference_steps=2, generator=torch.manual_seed(0), output_type="np",
                **given).images
"""

_TWO = _PIPE.replace("(SD)", "(SD2)")
"""Whose blocks have all as many layers, which diffusers needs for a factor of each block."""

_LAYERS = """
SHAPES = {name: weight.shape for name, weight in sorted(pipe.unet.state_dict().items())}
def layers(seed, rank=2):
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, shape in SHAPES.items():
        if name.endswith(("to_k.weight", "to_v.weight")):
            key, (rows, columns) = name.removesuffix(".weight"), shape
            found[f"{key}.lora_A.weight"] = torch.randn(rank, columns, generator=generator) / 4
            found[f"{key}.lora_B.weight"] = torch.randn(rows, rank, generator=generator) / 4
    return found
"""

SCRIPTS = {
    "lora: a folder": _PIPE
    + """
before = draw()
pipe.load_lora_weights(LORA)
result = [before, draw(), pipe.get_active_adapters()]
""",
    "lora: a file by name": _PIPE
    + """
pipe.load_lora_weights(LORA, weight_name="pytorch_lora_weights.safetensors", adapter_name="a",
                       low_cpu_mem_usage=True, use_safetensors=True)
result = [draw(), pipe.get_list_adapters()]
""",
    "lora: tensors": _PIPE
    + _LAYERS
    + """
pipe.load_lora_weights({f"unet.{k}": v for k, v in layers(1).items()}, adapter_name="one")
result = [draw(), pipe.get_active_adapters()]
""",
    "lora: the last one loaded is on": _PIPE
    + _LAYERS
    + """
pipe.load_lora_weights(LORA, adapter_name="a")
pipe.load_lora_weights({f"unet.{k}": v for k, v in layers(1).items()}, adapter_name="b")
result = [draw(), pipe.get_active_adapters(), sorted(pipe.get_list_adapters()["unet"])]
""",
    "lora: two at once": _TWO
    + _LAYERS
    + """
pipe.load_lora_weights({f"unet.{k}": v for k, v in layers(2).items()}, adapter_name="a")
pipe.load_lora_weights({f"unet.{k}": v for k, v in layers(1).items()}, adapter_name="b")
pipe.set_adapters(["a", "b"], adapter_weights=[0.7, 0.3])
result = [draw(), sorted(pipe.get_active_adapters())]
""",
    "lora: one weight for all": _TWO
    + _LAYERS
    + """
pipe.load_lora_weights({f"unet.{k}": v for k, v in layers(2).items()}, adapter_name="a")
pipe.set_adapters("a", 0.25)
result = draw()
""",
    "lora: weights by component": _TWO
    + _LAYERS
    + """
pipe.load_lora_weights({f"unet.{k}": v for k, v in layers(2).items()}, adapter_name="a")
pipe.set_adapters("a", {"unet": 0.3})
result = draw()
""",
    "lora: weights by block": _TWO
    + _LAYERS
    + """
pipe.load_lora_weights({f"unet.{k}": v for k, v in layers(2).items()}, adapter_name="a")
pipe.set_adapters("a", {"unet": {"down": 0.9, "mid": 0.2, "up": 0.4}})
result = draw()
""",
    "lora: off and on": _PIPE
    + """
pipe.load_lora_weights(LORA)
pipe.disable_lora()
off = draw()
pipe.enable_lora()
result = [off, draw()]
""",
    "lora: forget all": _PIPE
    + """
before = draw()
pipe.load_lora_weights(LORA)
pipe.unload_lora_weights()
result = [before, draw(), pipe.get_list_adapters()]
""",
    "lora: fused": _PIPE
    + """
pipe.load_lora_weights(LORA)
pipe.fuse_lora()
fused = draw()
count = pipe.num_fused_loras
pipe.unfuse_lora()
result = [fused, draw(), count, pipe.num_fused_loras]
""",
    "lora: fused with a scale": _PIPE
    + """
pipe.load_lora_weights(LORA)
pipe.fuse_lora(lora_scale=0.5)
fused = draw()
pipe.unfuse_lora()
result = [fused, draw()]
""",
    "lora: fused, and forgotten": _PIPE
    + """
pipe.load_lora_weights(LORA)
pipe.fuse_lora()
pipe.unload_lora_weights()
result = draw()
""",
    "lora: fused, and saved": _PIPE
    + """
pipe.load_lora_weights(LORA)
pipe.fuse_lora(safe_fusing=True)
pipe.unload_lora_weights()
pipe.save_pretrained(HERE / "fused")
again = StableDiffusionPipeline.from_pretrained(HERE / "fused")
result = draw(again)
""",
    "lora: some fused by name": _TWO
    + _LAYERS
    + """
pipe.load_lora_weights({f"unet.{k}": v for k, v in layers(2).items()}, adapter_name="a")
pipe.load_lora_weights({f"unet.{k}": v for k, v in layers(1).items()}, adapter_name="b")
pipe.set_adapters(["a", "b"])
pipe.fuse_lora(components=["unet"], adapter_names=["a"])
pipe.unload_lora_weights()
result = draw()
""",
    "lora: a scale for one run": _PIPE
    + """
pipe.load_lora_weights(LORA)
result = [draw(cross_attention_kwargs={"scale": 0.5}), draw(cross_attention_kwargs={"scale": 0}),
          draw()]
""",
    "lora: saved by a trainer": _PIPE
    + _LAYERS
    + """
StableDiffusionPipeline.save_lora_weights(HERE / "mine", unet_lora_layers=layers(3))
names = [p.name for p in (HERE / "mine").iterdir()]
pipe.load_lora_weights(str(HERE / "mine"))
result = [names, draw()]
""",
    "lora: saved under a name of one's own": _PIPE
    + _LAYERS
    + """
StableDiffusionPipeline.save_lora_weights(
    save_directory=HERE / "mine", unet_lora_layers=layers(3), weight_name="cats.safetensors",
    is_main_process=True)
pipe.load_lora_weights(str(HERE / "mine"), weight_name="cats.safetensors", adapter_name="cats")
result = [draw(), pipe.get_active_adapters()]
""",
    "lora: saved as a .bin": _PIPE
    + _LAYERS
    + """
StableDiffusionPipeline.save_lora_weights(HERE / "mine", layers(3), safe_serialization=False)
result = [[p.name for p in (HERE / "mine").iterdir()]]
""",
    "lora: FLUX": """
import torch
from diffusers import FluxPipeline
pipe = FluxPipeline.from_pretrained(FLUX)
generator = torch.Generator().manual_seed(5)
layers = {}
for name, weight in sorted(pipe.transformer.state_dict().items()):
    if name.endswith(("attn.to_q.weight", "attn.to_v.weight")):
        key, (rows, columns) = name.removesuffix(".weight"), weight.shape
        layers[f"{key}.lora_A.weight"] = torch.randn(2, columns, generator=generator) / 4
        layers[f"{key}.lora_B.weight"] = torch.randn(rows, 2, generator=generator) / 4
FluxPipeline.save_lora_weights(HERE / "mine", transformer_lora_layers=layers)
pipe.load_lora_weights(str(HERE / "mine"), adapter_name="a")
pipe.set_adapters(["a"], [0.8])
result = pipe("a cat", num_inference_steps=2, height=32, width=32, output_type="np",
              generator=torch.manual_seed(0), joint_attention_kwargs={"scale": 0.9}).images
""",
    "lora: XL, with both text encoders": """
import torch
from diffusers import StableDiffusionXLPipeline
pipe = StableDiffusionXLPipeline.from_pretrained(XL)
generator = torch.Generator().manual_seed(5)
def layers(network):
    found = {}
    for name, weight in sorted(network.state_dict().items()):
        if name.endswith(("to_q.weight", "q_proj.weight")):
            key, (rows, columns) = name.removesuffix(".weight"), weight.shape
            found[f"{key}.lora_A.weight"] = torch.randn(2, columns, generator=generator) / 4
            found[f"{key}.lora_B.weight"] = torch.randn(rows, 2, generator=generator) / 4
    return found
StableDiffusionXLPipeline.save_lora_weights(
    HERE / "mine", unet_lora_layers=layers(pipe.unet),
    text_encoder_lora_layers=layers(pipe.text_encoder),
    text_encoder_2_lora_layers=layers(pipe.text_encoder_2))
pipe.load_lora_weights(str(HERE / "mine"))
result = pipe("a cat", num_inference_steps=2, output_type="np",
              generator=torch.manual_seed(0)).images
""",
}
