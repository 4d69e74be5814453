"""What is raised where something cannot be done while something else goes on."""

from __future__ import annotations

from dpnb.errors import DpnbError


class SessionError(DpnbError, RuntimeError):
    """What was asked for cannot be done now; the message says when it can."""
