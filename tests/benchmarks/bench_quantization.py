"""The emoji model with an int8 network: loading and drawing, in turn with diffusers and in full.

Run with `python -m tests.benchmarks.bench_quantization [threads]`.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers.quantizers import PipelineQuantizationConfig
from torchao.quantization import Int8WeightOnlyConfig

import dpnb
from dpnb.emoji import FOLDER
from dpnb.nn.quantized import nbytes_of
from dpnb.units import format_bytes
from tests.benchmarks.bench_emoji import draw
from tests.benchmarks.compare import compare

CONFIG = PipelineQuantizationConfig(
    quant_mapping={"unet": diffusers.TorchAoConfig(Int8WeightOnlyConfig(set_inductor_config=False))}
)


def load(library: Any, config: Any) -> Any:
    """The emoji model of `library`."""
    pipe = library.StableDiffusionPipeline.from_pretrained(
        FOLDER, dtype=torch.float32, quantization_config=config
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    diffusers.utils.logging.disable_progress_bar()
    plain, ours, theirs = load(dpnb, None), load(dpnb, CONFIG), load(diffusers, CONFIG)
    for name, pipe in (("plain", plain), ("dpnb", ours), ("diffusers", theirs)):
        print(f"unet of {name:9}  {format_bytes(nbytes_of(pipe.unet))}")
    result = compare(partial(load, dpnb, CONFIG), partial(load, diffusers, CONFIG))
    print(f"load int8   {result}", flush=True)
    for what, other in (("diffusers", theirs), ("unquantized", plain)):
        ways = partial(draw, ours, ["red apple"]), partial(draw, other, ["red apple"])
        difference = np.abs(ways[0]() - ways[1]()).mean()
        result = compare(*ways, rounds=5)
        print(f"draw int8 over {what:11}   ratio {result.ratio:.3f}   mean {difference:.1e}")
