"""The card, its driver and libraries, and the bytes that these take beside tensors."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

import dpnb
from tests.gpu.models import full_precision
from tests.gpu.pictures import difference, draw_emoji, verdict
from tests.gpu.rows import Rows
from tests.gpu.setting import Setting

FACTS, TAKEN, ATTENTION, CONVOLUTIONS = (
    "Facts",
    "Bytes of the card that are taken beside tensors",
    "What attention holds at its peak, its output included",
    "What a convolution holds at its peak beside its output",
)

PACKAGES = ("diffusers", "transformers", "accelerate", "xformers", "torchao", "bitsandbytes")

BACKENDS = (
    None,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.MATH,
)


def measure(setting: Setting, rows: Rows) -> None:
    """The part."""
    driver = ask_driver()
    rows.add(FACTS, fact="card", value=torch.cuda.get_device_name() if not setting.is_dry else "")
    for fact, value in {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "driver": driver.get("driver_version", "unknown"),
        "torch": torch.__version__,
        "CUDA": torch.version.cuda,
        "Python": platform.python_version(),
        "processors": os.cpu_count(),
        **{package: _version(package) for package in PACKAGES},
        "allocator": os.environ.get("PYTORCH_CUDA_ALLOC_CONF", "as torch has it"),
    }.items():
        rows.add(FACTS, fact=fact, value=value)
    full_precision()
    if not setting.is_dry:
        with rows.attempt(TAKEN, "context and workspaces"):
            _measure_libraries(rows, driver)
    with rows.attempt(FACTS, "a picture of the model inside"):
        pipe = dpnb.StableDiffusionPipeline.from_pretrained("dpnb/emoji-64")
        pipe.set_progress_bar_config(disable=True)
        here = draw_emoji(pipe, steps=6)
        there = draw_emoji(pipe.to(setting.device), steps=6)
        off = difference(here, there)
        fact = "emoji model, 6 steps, the largest difference from CPU"
        rows.add(FACTS, fact=fact, value=off, **verdict(off))
    if not setting.is_dry:
        with rows.attempt(ATTENTION, "attention"):
            _measure_attention(rows)
        with rows.attempt(CONVOLUTIONS, "convolutions"):
            _measure_convolutions(rows)


def _measure_libraries(rows: Rows, driver: dict[str, str]) -> None:
    """What the context takes, and the first calls of cuBLAS and cuDNN."""
    before = int(driver.get("memory.used", 0)) << 20
    if driver:
        rows.add(TAKEN, after="before: other programs and the driver", card_bytes=before)
    properties = torch.cuda.get_device_properties(0)
    rows.add(FACTS, fact="capability", value=f"{properties.major}.{properties.minor}")
    rows.add(FACTS, fact="cuDNN", value=torch.backends.cudnn.version())
    _, total = torch.cuda.mem_get_info()
    rows.add(FACTS, fact="memory", value_bytes=total)

    def note(after: str) -> None:
        torch.cuda.synchronize()
        free, _ = torch.cuda.mem_get_info()
        held = torch.cuda.memory_reserved()
        rows.add(
            TAKEN,
            after=after,
            card_bytes=total - free,
            allocated_bytes=torch.cuda.memory_allocated(),
            reserved_bytes=held,
            neither_bytes=total - free - held,
        )

    note("the context")
    matrix = torch.ones(2048, 2048, device="cuda")
    note("a matrix of 16 MiB")
    matrix @ matrix
    note("its product: cuBLAS")
    half = matrix.half()
    F.linear(half, half, half[0])
    note("a linear layer in float16 with a bias: cuBLASLt")
    side_stream: Any = torch.cuda.Stream()
    with torch.cuda.stream(side_stream):
        half @ half
    note("a product on another stream")
    picture = torch.ones(1, 64, 128, 128, device="cuda")
    F.conv2d(picture, torch.ones(64, 64, 3, 3, device="cuda"), padding=1)
    note("a convolution: cuDNN")
    del matrix, half, picture
    torch.cuda.empty_cache()
    note("all that let go")


def _measure_attention(rows: Rows) -> None:
    """A UNet's heads of 40 and 64 channels, and the autoencoder's one of 512."""
    for heads, tokens, width in ((8, 4096, 40), (10, 4096, 64), (1, 16384, 512)):
        for dtype in (torch.float16, torch.float32):
            query = torch.randn(2 if heads > 1 else 1, heads, tokens, width, device="cuda").to(
                dtype
            )
            for backend in BACKENDS:
                rows.add(
                    ATTENTION,
                    heads=f"{query.shape[0]} × {heads} × {tokens} × {width}",
                    dtype=str(dtype)[6:],
                    kernel="torch's choice" if backend is None else backend.name.lower(),
                    **_try_attention(query, backend),
                )


def _try_attention(query: Tensor, backend: SDPBackend | None) -> dict[str, Any]:
    try:
        with nullcontext() if backend is None else sdpa_kernel(backend):
            held = _peak(lambda: F.scaled_dot_product_attention(query, query, query))
    except RuntimeError as error:
        return {"refused": str(error).strip().splitlines()[0][:80]}
    return {"peak_bytes": held, "output_bytes": query.nbytes}


def _measure_convolutions(rows: Rows) -> None:
    """Those of an autoencoder at 1024 × 1024 and of a UNet, as they come and channels last."""
    for channels, side in ((512, 256), (256, 1024), (320, 128), (1280, 16)):
        for dtype in (torch.float16, torch.float32):
            for layout in (torch.contiguous_format, torch.channels_last):
                picture = torch.randn(1, channels, side, side, device="cuda").to(dtype)
                kernel = torch.randn(channels, channels, 3, 3, device="cuda").to(dtype)
                picture = picture.contiguous(memory_format=layout)
                kernel = kernel.contiguous(memory_format=layout)
                held = _peak(partial(F.conv2d, picture, kernel, padding=1))
                rows.add(
                    CONVOLUTIONS,
                    channels=channels,
                    side=side,
                    dtype=str(dtype)[6:],
                    layout=str(layout)[6:],
                    scratch_bytes=held - picture.nbytes,
                )


def _peak(call: Callable[[], Tensor]) -> int:
    """The most bytes that a second call holds."""
    call()
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    base = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - base


def ask_driver() -> dict[str, str]:
    """What `nvidia-smi` says of the first card, without a context; nothing where it is not."""
    names = ("name", "driver_version", "memory.used", "memory.total")
    command = ["nvidia-smi", f"--query-gpu={','.join(names)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    values = done.stdout.splitlines()[0].split(", ")
    return dict(zip(names, (value.strip() for value in values), strict=True))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
