"""Configurations of a quantization."""

SCRIPTS = {
    "quantized: what a configuration says": """
import torch
from diffusers import BitsAndBytesConfig
config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4",
                            bnb_4bit_compute_dtype=torch.bfloat16, llm_int8_skip_modules=["x"])
result = [config.load_in_4bit, config.load_in_8bit, config.bnb_4bit_quant_type,
          str(config.bnb_4bit_compute_dtype), config.llm_int8_skip_modules,
          str(config.quant_method.value)]
""",
    "quantized: of a pipeline": """
from diffusers import PipelineQuantizationConfig, BitsAndBytesConfig
one = PipelineQuantizationConfig(quant_backend="bitsandbytes_4bit",
                                 quant_kwargs={"load_in_4bit": True},
                                 components_to_quantize="transformer")
each = PipelineQuantizationConfig(quant_mapping={"unet": BitsAndBytesConfig(load_in_8bit=True)})
result = [one.is_granular, each.is_granular, one.components_to_quantize, one.quant_kwargs]
""",
    "quantized: both or neither": """
from diffusers import PipelineQuantizationConfig, BitsAndBytesConfig
result = []
for given in ({}, {"quant_backend": "bitsandbytes_4bit"},
              {"quant_backend": "bitsandbytes_4bit", "quant_kwargs": {"load_in_4bit": True},
               "quant_mapping": {"unet": BitsAndBytesConfig(load_in_8bit=True)}}):
    try:
        PipelineQuantizationConfig(**given)
        result.append("taken")
    except ValueError:
        result.append("refused")
""",
    "quantized: loaded in eight bits": """
import torch
from torchao.quantization import Int8WeightOnlyConfig
from diffusers import AutoModel, StableDiffusionPipeline, TorchAoConfig
plain = AutoModel.from_pretrained(SD, subfolder="unet")
unet = AutoModel.from_pretrained(SD, subfolder="unet", torch_dtype=torch.float32,
                                 quantization_config=TorchAoConfig(Int8WeightOnlyConfig()))
pipe = StableDiffusionPipeline.from_pretrained(SD, unet=unet)
image = pipe("a cat", num_inference_steps=2, output_type="np",
             generator=torch.manual_seed(0)).images
layer = unet.mid_block.attentions[0].transformer_blocks[0].attn1.to_q
result = image.shape, type(layer.weight).__name__
""",
}
