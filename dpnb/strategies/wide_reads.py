"""Weights that are stored in a small dtype, as the code of any network reads them: wide.

Code may ask a layer's weight for its dtype, and cast what it gives the layer to that; or multiply
by the weight without calling the layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from typing_extensions import override

from dpnb.strategies.undo import is_hook_running

GETTER = "__get__"
"""The name of all functions that read an attribute of a tensor."""

READ_DTYPE: Any = torch.Tensor.dtype.__get__  # type: ignore[attr-defined]
READ_DATA: Any = torch.Tensor.data.__get__  # type: ignore[attr-defined]


class WideReads(TorchFunctionMode):
    """A mode in which weights seem to have the dtype that they are computed in.

    Hooks of strategies see them as they are stored, and so does who asks for their `data`.

    Args:
        dtypes: weight → the dtype that it seems to have.
    """

    def __init__(self, dtypes: Mapping[Tensor, torch.dtype]) -> None:
        super().__init__()
        self._dtypes = dtypes

    @override
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if is_hook_running():
            return func(*args, **kwargs)
        if func.__name__ == GETTER:
            return self._read(func, *args)
        return func(*map(self._widen, args), **{key: self._widen(v) for key, v in kwargs.items()})

    def _read(self, func: Callable[..., Any], tensor: Tensor, *others: Any) -> Any:
        dtype = self._dtypes.get(tensor) if type(tensor) is nn.Parameter else None
        if dtype is None or func == READ_DATA:
            return func(tensor, *others)
        if func == READ_DTYPE:
            return dtype
        found = func(tensor, *others)
        return found.to(dtype) if isinstance(found, Tensor) else found

    def _widen(self, given: Any) -> Any:
        """What a function is given, with wide weights, also those in a list."""
        if type(given) is nn.Parameter:
            dtype = self._dtypes.get(given)
            is_stored_small = dtype is not None and given.dtype != dtype
            return given.data.to(dtype) if is_stored_small else given
        if type(given) in (tuple, list):
            return type(given)(map(self._widen, given))
        return given
