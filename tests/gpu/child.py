"""One part, in a process of its own: `python -m tests.gpu.child CALL ROWS SETTING`."""

from __future__ import annotations

import faulthandler
import sys
from importlib import import_module
from pathlib import Path

from tests.gpu.rows import Rows
from tests.gpu.setting import Setting


def main(call: str, rows: str, setting: str) -> None:
    """Call a part.

    Args:
        call: its module and function, as `"tests.gpu.facts:measure"`.
        rows: the file for its rows.
        setting: as `Setting.to_text` writes it.
    """
    module, _, function = call.partition(":")
    getattr(import_module(module), function)(Setting.from_text(setting), Rows(Path(rows)))


if __name__ == "__main__":
    faulthandler.enable()  # a crash, and the signal of who stops it, leave their place in the log
    main(*sys.argv[1:])
