"""What torch tells nobody, in one place: names that another release of it may not have."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn, overrides
from torch.nn.modules import module as modules

COMPUTING = ("forward", "_call_impl", "_compiled_call_impl")
"""Attributes by which a module may compute otherwise than its class does."""


DEVICE_MODE = "DeviceContext"
"""The class of the mode of `torch.set_default_device`."""

NAMES = (
    (torch._C, "_len_torch_function_stack"),
    (torch._C, "_len_torch_dispatch_stack"),
    (torch._C, "_aoti"),
    (overrides, "_get_current_function_mode_stack"),
    (modules, "_global_forward_hooks"),
    (modules, "_global_forward_pre_hooks"),
)


def missing_names() -> list[str]:
    """What this release of torch lacks of what is used here."""
    missing = [name for owner, name in NAMES if name not in vars(owner)]
    return missing or ([] if package_loader() is not None else ["AOTIModelPackageLoader"])


def function_modes() -> list[Any]:
    """The modes of functions that this thread is in, but for one of `torch.set_default_device`.

    That says where new tensors are made, and replaces nothing.
    """
    return [mode for mode in _all_function_modes() if type(mode).__name__ != DEVICE_MODE]


def default_device() -> str:
    """Where this thread makes new tensors, if `torch.set_default_device` or a context says so."""
    contexts = [mode for mode in _all_function_modes() if type(mode).__name__ == DEVICE_MODE]
    return str(contexts[-1].device) if contexts else ""


def _all_function_modes() -> list[Any]:
    if torch._C._len_torch_function_stack() == 0:
        return []
    return list(overrides._get_current_function_mode_stack())


def has_dispatch_modes() -> bool:
    """Whether this thread is in a mode that watches operations, as meters do."""
    return torch._C._len_torch_dispatch_stack() > 0


def has_global_hooks() -> bool:
    """Whether somebody listens to the calls of all modules."""
    return bool(modules._global_forward_hooks or modules._global_forward_pre_hooks)


def without_hooks() -> dict[str, Any]:
    """The attributes in which a module keeps hooks, as they are where there are none."""
    return {name: value for name, value in vars(nn.Module()).items() if "hooks" in name}


def package_loader() -> Any:
    """What loads compiled code; `None` where this torch has none.

    Torch's own loader, of which its Python API is a wrapper that imports the compiler first, and
    that takes as long as many pictures.
    """
    made: Any = vars(torch._C).get("_aoti")
    return None if made is None else vars(made).get("AOTIModelPackageLoader")
