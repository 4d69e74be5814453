"""Compiling a network's blocks while it draws."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from shutil import which
from typing import ClassVar, Literal, TypeAlias

import torch
from torch import nn
from typing_extensions import override

from dpnb.models.block_switches import BlockSwitches
from dpnb.nn.compiled import is_compiled
from dpnb.nn.resnet import ResnetBlock
from dpnb.nn.torch_internals import missing_names
from dpnb.strategies.compile_queue import shared_queue
from dpnb.strategies.compiled_blocks import CompiledBlock, CompileProgress
from dpnb.strategies.cuda_graphs import CudaGraphRecorder
from dpnb.strategies.named_components import absent_components_obstacle, read_components
from dpnb.strategies.networks import Networks
from dpnb.strategies.settings import hints
from dpnb.strategies.strategy import Slot, Strategy
from dpnb.strategies.undo import Undo

CompileMode: TypeAlias = Literal["default", "reduce-overhead", "max-autotune"]

OPTIONS = {"default": (), "reduce-overhead": (), "max-autotune": (("max_autotune", True),)}
"""Of torch's compiler, in each mode."""

COMPILERS = ("g++", "clang++", "cl")

RESNETS = frozenset({ResnetBlock.__name__, "ResnetBlock2D"})
"""Blocks of convolutions, ours and those of other packages, which networks do not declare."""


@dataclass(frozen=True, repr=False)
class Compile(Strategy):
    """Compute the denoiser by compiled code, which another process makes meanwhile.

    Nothing waits for it: each block computes as it was written until its code is there, and goes
    over with its next call. Blocks that are made alike share one piece of code, and so do processes
    of one user: it is kept in `$DPNB_CACHE`, by default `~/.cache/dpnb`. What is switched on or off
    later has only those blocks compiled again that it changes, and compiled code takes the weights
    as they are at each call. A block computes as written where gradients are recorded, where
    another strategy acts within it, or where a mode has replaced its attention;
    `pipe.strategies.remarks` and the panel say how many do. Convolutions take as long as before on
    a CPU, so that blocks of these are compiled for GPUs alone.

    Compiled code adds in another order, and in 16 bits it rounds less often: pictures are the same
    up to that rounding, as with another kernel for attention. For a GPU, the process that compiles
    has a context of its own there, and tries kernels out with `"max-autotune"`; this memory is not
    counted with the pipeline's.

    Args:
        mode: `"reduce-overhead"` records what a GPU is asked for in a block, and asks for all of
            it at once (CUDA graphs), where weights stay in its memory; `"max-autotune"` tries
            several kernels for every product of matrices, which takes much longer to compile.
        regional: whether the blocks of which a network has many are compiled one by one, as opposed
            to the whole network at once, which takes much longer.
        components: the networks that are compiled; all denoisers by default.
    """

    mode: CompileMode = "default"
    regional: bool = field(default=True, metadata=hints("block by block"))
    components: tuple[str, ...] = ()
    slot: ClassVar = Slot.COMPILATION
    unpredicted: ClassVar = (
        "What compiled code holds is not known before it runs; measure it, with dpnb.record."
    )

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        read_components(self)
        if not isinstance(self.mode, str) or self.mode not in OPTIONS:
            *others, last = (f'"{mode}"' for mode in OPTIONS)
            known = f"{', '.join(others)} or {last}"
            raise ValueError(f"mode is {self.mode!r}; use {known}.")

    @override
    def obstacle(self, networks: Networks) -> str | None:
        absent = absent_components_obstacle("Compile names", self.components, networks)
        if absent is not None:
            return absent
        if not list(self._regions(networks)):
            return (
                "Compile needs a denoiser that declares blocks of which it has many; there is none "
                "here."
            )
        for name, network in networks.items(*self.components):
            if is_compiled(network):
                return (
                    f"{name} is compiled already, by torch.compile; leave Compile out, or load the "
                    "pipeline without compiling it."
                )
        if self.mode == "reduce-overhead" and networks.device.type != "cuda":
            return (
                "reduce-overhead records what a GPU is asked for, and this pipeline is on "
                f'{networks.device.type}; leave mode at "default".'
            )
        return _toolchain_obstacle(networks.device)

    @override
    def apply(self, networks: Networks, undo: Undo) -> None:
        """Let compiled blocks stand for those that are as written."""
        options, queue = OPTIONS[self.mode], shared_queue()
        record = CudaGraphRecorder() if self.mode == "reduce-overhead" else None
        regions = self._regions(networks)
        blocks = [CompiledBlock(block, options, queue, record) for block in regions]
        for block in blocks:
            block.replace(undo)
        undo.watch(CompileProgress(blocks))

    def _regions(self, networks: Networks) -> Iterator[nn.Module]:
        for _, network in networks.items(*self.components):
            kinds = _repeated_kinds(network)
            if kinds and networks.device.type != "cpu":
                kinds |= RESNETS
            if kinds and not self.regional:
                yield network
            elif kinds:
                yield from (m for m in network.modules() if type(m).__name__ in kinds)


def _repeated_kinds(network: nn.Module) -> frozenset[str]:
    """The names of the classes of blocks of which a denoiser has many; none of other networks."""
    if isinstance(network, BlockSwitches):
        return frozenset(kind.__name__ for kind in network.repeated_blocks)
    # What diffusers' denoisers declare.
    return frozenset(getattr(type(network), "_repeated_blocks", None) or ())


def _toolchain_obstacle(device: torch.device) -> str | None:
    """What torch's compiler lacks for a device, as a sentence."""
    if missing := missing_names():
        return (
            f"Compile is made for torch 2.7 to 2.13, and {torch.__version__} has no {missing[0]}; "
            "install one of these, or leave Compile out."
        )
    if not any(which(one) for one in (os.environ.get("CXX", ""), *COMPILERS) if one):
        return (
            "Compile needs a C++ compiler, and neither g++ nor clang++ is found; install one, as "
            "`apt install g++` does, or leave Compile out."
        )
    if device.type == "cuda" and find_spec("triton") is None:
        return "Compile needs the package triton on a GPU; install triton, or leave Compile out."
    if device.type not in ("cpu", "cuda"):
        return f"Compile is for the CPU and for CUDA, and this pipeline is on {device.type}."
    return None
