"""A device guard for CUDA in a torch that was built without: it changes nothing."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

CUDA, META = 1, 14
"""Places of two kinds of devices in torch's list of guards (`c10/core/DeviceType.h`)."""

REGISTRY = "_ZN3c104impl26device_guard_impl_registryE"


@contextmanager
def guarded() -> Iterator[None]:
    """Within, code of torch that makes a card the present one is content.

    The guard of the meta device, for which nothing is to be done, stands in.
    """
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    guards = (ctypes.c_void_p * (META + 1)).in_dll(library, REGISTRY)
    before, guards[CUDA] = guards[CUDA], guards[META]
    try:
        yield
    finally:
        guards[CUDA] = before
