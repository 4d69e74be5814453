"""Get what tests need beside Python packages: a browser, and the font that emoji are drawn in.

`python -m tests.browser.install` asks the system's package manager where it can, and playwright
otherwise.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from tests.browser.servers import chromium

WITH_SYSTEM = "apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium"


def main() -> None:
    """Install a browser unless there is one."""
    if chromium() is not None:
        return
    if shutil.which("apt-get") and os.geteuid() == 0 and not _is_ubuntu():
        subprocess.run(["sh", "-c", WITH_SYSTEM], check=True, stdout=subprocess.DEVNULL)
    else:
        command = [sys.executable, "-m", "playwright", "install", "--with-deps", "chromium"]
        subprocess.run(command, check=True)


def _is_ubuntu() -> bool:
    """Ubuntu's chromium is a snap, which does not run everywhere."""
    try:
        with open("/etc/os-release") as file:
            return "ID=ubuntu" in file.read().splitlines()
    except OSError:
        return False


if __name__ == "__main__":
    main()
