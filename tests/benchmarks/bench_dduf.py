"""Loading a Stable Diffusion 1.5 in float16 (2.1 GB) from one DDUF file: seconds and memory.

Run as `python -m tests.benchmarks.bench_dduf [--rounds 5]`. Three ways take turns, each in a
process of its own that has imported everything before the clock starts, on files that are in the
page cache: dpnb from the DDUF file, dpnb from the folder it was made of, and the tensors alone as
huggingface_hub's documentation reads them (`entry.as_mmap()` and `safetensors.torch.load`).
Memory is what the process holds besides mapped files.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from dpnb.units import format_bytes, format_seconds

WAYS = ("dpnb, one file", "dpnb, folder", "hub's way")

CHILD = """
import sys, time
import huggingface_hub, safetensors.torch, torch, transformers
import dpnb
from transformers import CLIPTextModel, CLIPTokenizer
from dpnb import StableDiffusionPipeline, PNDMScheduler

def anonymous():
    for line in open("/proc/self/status"):
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024

way, folder = sys.argv[1], sys.argv[2]
before, started = anonymous(), time.perf_counter()
if way == "hub's way":
    entries = huggingface_hub.read_dduf_file(folder + "/a.dduf")
    kept = []
    for name, entry in entries.items():
        if name.endswith(".safetensors"):
            with entry.as_mmap() as mapped:
                kept.append(safetensors.torch.load(mapped))
else:
    place = folder + ("/a.dduf" if way == "dpnb, one file" else "/folder")
    kept = StableDiffusionPipeline.from_pretrained(place, dtype=torch.float16)
print(time.perf_counter() - started, anonymous() - before)
"""


def make(folder: Path) -> None:
    """Write the pipeline twice, with random weights."""
    import torch

    import dpnb

    pipe = dpnb.random_pipeline("sd15", dtype=torch.float16)
    pipe.save_pretrained(folder / "folder")
    pipe.save_pretrained(folder / "a.dduf")


def load(way: str, folder: Path) -> tuple[float, int]:
    """Seconds and bytes of one load."""
    command = [sys.executable, "-c", CHILD, way, str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, size = result.stdout.split()[-2:]
    return float(seconds), int(size)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    found: dict[str, list[tuple[float, int]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as directory:
        make(Path(directory))
        for turn in range(rounds + 1):
            for way in WAYS if turn % 2 else WAYS[::-1]:
                measured = load(way, Path(directory))
                if turn:
                    found[way].append(measured)
    base = statistics.median(seconds for seconds, _ in found[WAYS[2]])
    for way, loads in found.items():
        seconds = statistics.median(one for one, _ in loads)
        size = statistics.median(one for _, one in loads)
        print(
            f"{way:16} {format_seconds(seconds):>10}  {format_bytes(int(size)):>10}  "
            f"ratio {seconds / base:.3f}"
        )


if __name__ == "__main__":
    main()
