"""The HTTP library under huggingface_hub, which is another one from version to version."""

from __future__ import annotations

import importlib
from typing import Any


def http_client() -> Any:
    """The HTTP library that this huggingface_hub uses."""
    return importlib.import_module(http_error().__module__.partition(".")[0])


def http_error() -> type[Exception]:
    """The base of that library's errors."""
    from huggingface_hub.errors import HfHubHTTPError

    return next(base for base in HfHubHTTPError.__bases__ if base is not OSError)
