"""Draw from words in a notebook: diffusion pipelines of our own, to be watched and changed live.

Names are loaded when they are first used, so that `import dpnb` is quick and imports neither torch
nor transformers. What type checkers and editors know of them stands in `__init__.pyi`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from dpnb.absent_names import explain_absence
from dpnb.module_paths import offer_paths
from dpnb.names import HOMES
from dpnb.switchboard import Switchboard, Switchboards

__version__ = "0.1.0"

__all__ = ["__version__", *HOMES]


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        if (reason := explain_absence(name, HOMES)) is not None:
            # `from dpnb import ...` would hide the sentence of an AttributeError.
            raise ImportError(reason, name=name)
        raise AttributeError(f"dpnb has no {name}; it has {', '.join(sorted(HOMES))}.")
    value = getattr(import_module(HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


def _switchboard(network: object, component: str) -> Switchboard:
    module = import_module("dpnb.strategies.network_switchboard")
    switchboard: Switchboard = module.NetworkSwitchboard.of(network, component)
    return switchboard


Switchboards.make = _switchboard

offer_paths()
