"""All scripts, and the reasons of those that dpnb does not run."""

from __future__ import annotations

from tests.dropin import (
    adapters,
    auto,
    basics,
    distilled,
    files,
    fluxes,
    images,
    loops,
    lora,
    models,
    names,
    networks,
    schedulers_solvers,
    schedulers_steps,
)
from tests.dropin.script import Script

TOPICS = (
    adapters,
    auto,
    basics,
    distilled,
    files,
    fluxes,
    images,
    loops,
    lora,
    models,
    names,
    networks,
    schedulers_solvers,
    schedulers_steps,
)

REASONS: dict[str, str] = {
    "loop: timesteps of a scheduler": (
        "files within a family have other names here; scheduler.set_timesteps does the same"
    ),
    "lora: fused with a scale": (
        "after unfuse_lora() adapters act as before; diffusers keeps the scale of fuse_lora"
    ),
}
"""Why a script gives something else here, by its name."""


def collect_scripts() -> list[Script]:
    """Every script, by topic."""
    return [Script(name, source) for topic in TOPICS for name, source in topic.SCRIPTS.items()]
