"""All scripts, and the reasons of those that dpnb does not run."""

from __future__ import annotations

from tests.dropin import basics, files, lora, models, schedulers_solvers, schedulers_steps
from tests.dropin.script import Script

TOPICS = (basics, files, lora, models, schedulers_solvers, schedulers_steps)

REASONS: dict[str, str] = {}
"""Why a script gives something else here, by its name."""


def collect_scripts() -> list[Script]:
    """Every script, by topic."""
    return [Script(name, source) for topic in TOPICS for name, source in topic.SCRIPTS.items()]
