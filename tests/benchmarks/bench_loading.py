"""Loading a Stable Diffusion 1.5 in float16 (2.1 GB) beside diffusers: seconds and peak memory.

Run as `python -m tests.benchmarks.bench_loading [--rounds 5] [--layers]`. Weights are random and
written to a temporary folder first. Each load happens in a process of its own that has imported
everything before the clock starts; dpnb and diffusers take turns, on files that are in the page
cache. The aim: at most 0.35 of diffusers' time, at most its peak resident memory.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import random
import shutil
import statistics
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from dpnb.loading.checkpoint_files import write_json
from dpnb.loading.model_index import ModelIndex
from dpnb.loading.weights.weight_files import find_weights, read_weights, write_weights
from dpnb.units import format_bytes, format_seconds

NEEDED_BYTES = 4 << 30
UNET: Mapping[str, Any] = {"cross_attention_dim": 768, "attention_head_dim": 8, "sample_size": 64}
VAE: Mapping[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "sample_size": 512,
}
TEXT: Mapping[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "projection_dim": 768,
    "bos_token_id": 49406,
    "eos_token_id": 49407,
}
INDEX = ModelIndex(
    class_name="StableDiffusionPipeline",
    components={
        "feature_extractor": None,
        "image_encoder": None,
        "safety_checker": None,
        "scheduler": ("diffusers", "PNDMScheduler"),
        "text_encoder": ("transformers", "CLIPTextModel"),
        "tokenizer": ("transformers", "CLIPTokenizer"),
        "unet": ("diffusers", "UNet2DConditionModel"),
        "vae": ("diffusers", "AutoencoderKL"),
    },
    settings={"requires_safety_checker": False},
)


def make(folder: Path) -> None:
    """Write the pipeline, with random weights."""
    from transformers import CLIPTextConfig, CLIPTextModel

    from dpnb.models.autoencoder import AutoencoderKL
    from dpnb.models.unet import UNet2DConditionModel
    from dpnb.schedulers import PNDMScheduler

    for name in ("scheduler", "text_encoder", "tokenizer", "unet", "vae"):
        (folder / name).mkdir(parents=True)
    INDEX.write(folder)
    PNDMScheduler(skip_prk_steps=True, steps_offset=1).save_pretrained(folder / "scheduler")
    make_tokenizer(folder / "tokenizer")
    config = CLIPTextConfig(**TEXT)
    config.save_pretrained(folder / "text_encoder")
    with torch.device("meta"):
        unet, vae, text = UNet2DConditionModel(**UNET), AutoencoderKL(**VAE), CLIPTextModel(config)
    unet.save_config(folder / "unet")
    vae.save_config(folder / "vae")
    write_random(text.state_dict(prefix="text_model."), folder / "text_encoder", "model")
    write_random(unet.state_dict(), folder / "unet", unet.weights_name)
    write_random(vae.state_dict(), folder / "vae", vae.weights_name)


def write_random(state: Mapping[str, torch.Tensor], folder: Path, stem: str) -> None:
    """Write float16 weights of the shapes in `state`."""
    weights = {
        name: torch.empty(tensor.shape, dtype=torch.float16).uniform_(-0.02, 0.02)
        for name, tensor in state.items()
    }
    write_weights(weights, folder, stem)


def make_tokenizer(folder: Path) -> None:
    """Write a BPE of the size of CLIP's: 49,408 tokens, 48,894 merges."""
    symbols = [chr(code) for code in itertools.chain(range(33, 127), range(161, 323))]
    tokens = dict.fromkeys([*symbols, *(f"{symbol}</w>" for symbol in symbols)])
    merges: list[str] = []
    words = list(string.ascii_lowercase)
    chance = random.Random(0)
    while len(tokens) < 49_406:
        first, second = chance.choice(words), chance.choice(string.ascii_lowercase)
        end = chance.choice(("", "</w>"))
        token = f"{first}{second}{end}"
        if token not in tokens:
            tokens[token] = None
            merges.append(f"{first} {second}{end}")
            words += [] if end else [token]
    vocabulary = [*tokens, "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({t: n for n, t in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "pad_token": "<|endoftext|>"},
    )


def load_ours(folder: Path) -> Callable[[], Any]:
    """A load by dpnb, everything imported."""
    from dpnb import StableDiffusionPipeline

    touch("transformers", "CLIPTextModel", "CLIPTokenizer", "PreTrainedTokenizerFast")
    touch("dpnb", "AutoencoderKL", "UNet2DConditionModel", "PNDMScheduler")
    return lambda: StableDiffusionPipeline.from_pretrained(str(folder), dtype=torch.float16)


def load_theirs(folder: Path) -> Callable[[], Any]:
    """A load by diffusers, everything imported."""
    from diffusers import StableDiffusionPipeline
    from diffusers.utils import logging

    logging.disable_progress_bar()
    touch("transformers", "CLIPTextModel", "CLIPTokenizer", "PreTrainedTokenizerFast")
    touch("diffusers", "AutoencoderKL", "UNet2DConditionModel", "PNDMScheduler")
    return lambda: StableDiffusionPipeline.from_pretrained(str(folder), dtype=torch.float16)


def touch(library: str, *names: str) -> None:
    """Import what the library's lazy names stand for."""
    for name in names:
        getattr(importlib.import_module(library), name)


LIBRARIES = {"dpnb": load_ours, "diffusers": load_theirs}


def measure(library: str, folder: Path) -> tuple[float, int]:
    """Seconds and peak resident bytes of one load in a fresh process."""
    command = [sys.executable, "-m", __spec__.name, "--worker", library, "--folder", str(folder)]
    run = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    seconds, peak = run.stdout.split()[-2:]
    return float(seconds), int(peak)


def work(library: str, folder: Path) -> None:
    """Load once and print seconds and peak resident bytes."""
    load = LIBRARIES[library](folder)
    started = time.perf_counter()
    pipe = load()
    seconds = time.perf_counter() - started
    assert pipe.unet.dtype == torch.float16
    status = Path("/proc/self/status").read_text()
    print(seconds, int(status.split("VmHWM:")[1].split()[0]) * 1024)


def time_layers(folder: Path) -> None:
    """Print what each layer under dpnb's load takes, the second time it is called."""
    from transformers import CLIPTextModel, CLIPTokenizer

    from dpnb.loading.components.transformers_components import load_transformers_component
    from dpnb.models.autoencoder import AutoencoderKL
    from dpnb.models.unet import UNet2DConditionModel
    from dpnb.schedulers import PNDMScheduler

    stem = UNet2DConditionModel.weights_name
    layers: dict[str, Callable[[], Any]] = {
        "find unet": lambda: find_weights(folder / "unet", stem),
        "read unet": lambda: read_weights(find_weights(folder / "unet", stem), dtype=torch.half),
        "unet": lambda: UNet2DConditionModel.load(folder / "unet", dtype=torch.half),
        "vae": lambda: AutoencoderKL.load(folder / "vae", dtype=torch.half),
        "text encoder": lambda: load_transformers_component(
            CLIPTextModel, folder / "text_encoder", dtype=torch.half
        ),
        "tokenizer": lambda: load_transformers_component(CLIPTokenizer, folder / "tokenizer"),
        "scheduler": lambda: PNDMScheduler.from_pretrained(folder / "scheduler"),
    }
    for name, layer in layers.items():
        for _ in range(2):
            started = time.perf_counter()
            layer()
            seconds = time.perf_counter() - started
        print(f"{name:12} {format_seconds(seconds)}")


def report(folder: Path, rounds: int) -> None:
    """Take turns and print medians and their ratios."""
    readings: dict[str, list[tuple[float, int]]] = {library: [] for library in LIBRARIES}
    for turn in range(rounds + 1):
        for library in LIBRARIES:
            reading = measure(library, folder)
            if turn:
                readings[library].append(reading)
    seconds = {name: statistics.median(s for s, _ in rows) for name, rows in readings.items()}
    peaks = {name: max(peak for _, peak in rows) for name, rows in readings.items()}
    for name, rows in readings.items():
        each = ", ".join(format_seconds(s) for s, _ in rows)
        print(
            f"{name:9} {format_seconds(seconds[name])}  peak {format_bytes(peaks[name])}  ({each})"
        )
    print(f"time ratio {seconds['dpnb'] / seconds['diffusers']:.2f} (aim 0.35)")
    print(f"peak ratio {peaks['dpnb'] / peaks['diffusers']:.2f} (aim 1.00)")


def main() -> None:
    """Write the pipeline, compare, and clear up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--layers", action="store_true")
    parser.add_argument("--worker", choices=LIBRARIES)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    if asked.worker:
        work(asked.worker, asked.folder)
        return
    if shutil.disk_usage(tempfile.gettempdir()).free < NEEDED_BYTES:
        parser.error(f"{tempfile.gettempdir()} has less than {format_bytes(NEEDED_BYTES)} free.")
    with tempfile.TemporaryDirectory(prefix="dpnb-bench-") as temporary:
        folder = asked.folder or Path(temporary) / "pipe"
        if not folder.exists():
            make(folder)
        if asked.layers:
            time_layers(folder)
        else:
            report(folder, asked.rounds)


if __name__ == "__main__":
    main()
