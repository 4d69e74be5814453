"""Memory of a card that is memory of the host: tensors that torch takes for CUDA's.

A block is a piece of it. A tensor is born in a block by DLPack, which lets say on which device an
address is; a view of the same bytes on the CPU is what kernels compute with.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, ClassVar
from weakref import ref

import torch
from torch import Tensor

from tests.devices.streams import LateStream

POISON = 0xFF
"""Fills memory without values: every floating-point number is NaN then."""

PAGE = 512
"""Blocks are multiples of this, as those of torch's allocator are."""

KINDS = {
    torch.bool: 6,
    torch.uint8: 1,
    torch.int8: 0,
    torch.int16: 0,
    torch.int32: 0,
    torch.int64: 0,
    torch.float16: 2,
    torch.float32: 2,
    torch.float64: 2,
    torch.bfloat16: 4,
    torch.complex64: 5,
}
"""The codes of DLPack. Other dtypes are born as bytes."""

CUDA = 2
CPU_KEYS = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
"""With these, a view is made without asking what device the memory is on."""


class _Device(ctypes.Structure):
    _fields_: ClassVar = [("kind", ctypes.c_int32), ("index", ctypes.c_int32)]


class _Dtype(ctypes.Structure):
    _fields_: ClassVar = [
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
    ]


class _Managed(ctypes.Structure):
    _fields_: ClassVar = [
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _Dtype),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("byte_offset", ctypes.c_uint64),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    ]


_new_capsule: Any = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype = ctypes.py_object
_new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]

MOST_DIMS = 8

_FORM = _Managed()
"""Is filled in for every birth, and lives for ever: torch looks for a deleter in it."""

_DIMS = (ctypes.c_int64 * (2 * MOST_DIMS))()


class Block:
    """A piece of a card's memory.

    Args:
        nbytes: of it, a multiple of `PAGE`.
        card: the number of the card.
        stream: on which it was allocated, and will be again.

    Attributes:
        start: its address.
        nbytes: its size.
        card: the number of the card.
        uses: by stream, what was read (`False`) or written (`True`) there last: first and last
            byte → the stream's clock then, and by whom.
    """

    def __init__(self, nbytes: int, card: int, stream: LateStream) -> None:
        with torch.inference_mode(False):
            memory = torch.full((nbytes + PAGE,), POISON, dtype=torch.uint8)
            skipped = -memory.data_ptr() % PAGE
            self.bytes = memory[skipped : skipped + nbytes]
        self.start, self.nbytes, self.card, self.stream = (
            self.bytes.data_ptr(),
            nbytes,
            card,
            stream,
        )
        self.uses: dict[LateStream, dict[tuple[int, int, bool], tuple[int, str]]] = {}
        self._typed: dict[torch.dtype, Tensor] = {torch.uint8: self.bytes}
        self._alive: ref[torch.UntypedStorage] | None = None

    def birth(
        self,
        shape: Sequence[int],
        stride: Sequence[int],
        dtype: torch.dtype,
        nbytes: int,
        on_death: Callable[[Block], None],
    ) -> Tensor:
        """A tensor of the card in this block.

        Args:
            shape: of it.
            stride: likewise.
            dtype: likewise.
            nbytes: from its first element to its last.
            on_death: is called once its memory is nobody's any more.
        """
        code = KINDS.get(dtype)
        managed, dims, ndim = _FORM, _DIMS, len(shape)
        managed.data = self.start
        managed.device.kind, managed.device.index = CUDA, self.card
        if code is None:
            managed.ndim, managed.dtype = 1, _Dtype(1, 8, 1)
            dims[0], dims[MOST_DIMS] = nbytes, 1
        else:
            managed.ndim, managed.dtype = ndim, _Dtype(code, dtype.itemsize * 8, 1)
            dims[:ndim], dims[MOST_DIMS : MOST_DIMS + ndim] = list(shape), list(stride)
        managed.shape = ctypes.addressof(dims)
        managed.strides = managed.shape + MOST_DIMS * ctypes.sizeof(ctypes.c_int64)
        capsule = _new_capsule(ctypes.addressof(managed), b"dltensor", None)
        tensor: Tensor = torch._C._from_dlpack(capsule)
        if code is None:
            tensor = torch.ops.aten.as_strided.default.redispatch(
                CPU_KEYS, tensor.view(dtype), list(shape), list(stride)
            )
        self._alive = ref(tensor.untyped_storage(), lambda _: on_death(self))
        return tensor

    def alias(self, tensor: Tensor) -> Tensor:
        """The bytes of a tensor in this block, as a tensor of the CPU."""
        typed = self._typed.get(tensor.dtype)
        if typed is None:
            typed = self._typed[tensor.dtype] = self.bytes.view(tensor.dtype)
        first = typed.storage_offset() + tensor.storage_offset()
        return typed.as_strided(tensor.shape, tensor.stride(), first)


def extent(shape: Sequence[int], stride: Sequence[int]) -> int:
    """Elements from the first to the last of such a tensor."""
    if 0 in shape:
        return 0
    return 1 + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
