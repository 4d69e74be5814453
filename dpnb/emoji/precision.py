"""The arithmetic that a device is quick at."""

import torch


def autocast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device computes in it, else float32.

    A processor without instructions for bfloat16 emulates it, some seventy times as slowly.
    """
    if device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return torch.float32
    return torch.bfloat16


def autocast(device: torch.device) -> torch.autocast:
    """A context in which convolutions and matrix products run in `autocast_dtype`."""
    dtype = autocast_dtype(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16)
