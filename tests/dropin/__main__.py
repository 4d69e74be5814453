"""Runs every script in both libraries: `python -m tests.dropin [BEGINNING OF A NAME ...]`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import tests.conftest  # noqa: F401 - no network, no user's cache
from tests.dropin.collection import REASONS, collect_scripts
from tests.dropin.places import open_places
from tests.dropin.script import find_difference


def main() -> int:
    """Print what differs, and in one line how many scripts give the same."""
    scripts = [s for s in collect_scripts() if s.name.startswith(tuple(sys.argv[1:] or [""]))]
    same = 0
    with tempfile.TemporaryDirectory() as folder, open_places(Path(folder)) as places:
        for script in scripts:
            try:
                theirs = script.run("diffusers", places)
            except Exception as error:
                raise ValueError(f"{script.name!r} does not run with diffusers") from error
            try:
                difference = find_difference(theirs, script.run("dpnb", places))
            except Exception as error:
                difference = f"{type(error).__name__}: {error}"
            same += difference is None
            if difference is not None:
                print(f"{script.name}: {REASONS.get(script.name) or difference}")
    print(f"{same} of {len(scripts)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
