"""Elements of SVG pictures, as text, in the colours of the page's theme."""

from __future__ import annotations

import html
from collections.abc import Sequence

BLUE, RED, ORANGE = "var(--dpnb-blue, #0072b2)", "var(--dpnb-red, #d55e00)", "#e69f00"
LINE = "var(--dpnb-line, #d0d7de)"


def svg(width: int, height: int, label: str, parts: Sequence[str]) -> str:
    """A picture that is as wide as there is room; `label` says what it shows."""
    safe = html.escape(label, quote=True)
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{safe}" font-size="12">'
        f"<title>{safe}</title>{''.join(parts)}</svg>"
    )


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    """Words; `kind` is "soft" for what matters less."""
    return (
        f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{html.escape(words)}</text>'
    )


def line(x1: float, y1: float, x2: float, y2: float, colour: str, dash: str = "") -> str:
    """A line; `dash` is a pattern such as "4 2"."""
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}"{dashes}/>'


def rect(x: float, y: float, width: float, height: float, fill: str, more: str = "") -> str:
    """A filled rectangle with further attributes."""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{max(height, 0):.1f}" '
        f'fill="{fill}" {more}/>'
    )
