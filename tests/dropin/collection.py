"""All scripts, and the reasons of those that dpnb does not run."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from tests.dropin import topics
from tests.dropin.script import Script

REASONS: dict[str, str] = {
    "lora: fused with a scale": (
        "after unfuse_lora() adapters act as before; diffusers keeps the scale of fuse_lora"
    ),
}
"""Why a script gives something else here, by its name."""


def collect_scripts() -> list[Script]:
    """Every script, by topic."""
    names = sorted(topic.name for topic in pkgutil.iter_modules(topics.__path__))
    collections = [import_module(f"{topics.__name__}.{name}").SCRIPTS for name in names]
    return [Script(name, source) for scripts in collections for name, source in scripts.items()]
