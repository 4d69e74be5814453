"""Pictures and masks to give to pipelines."""

from __future__ import annotations

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 16, 24


def picture(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> Image.Image:
    """Noise in colours."""
    levels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(levels)


def mask(height: int = HEIGHT, width: int = WIDTH) -> Image.Image:
    """A white rectangle somewhat off the middle of black."""
    levels = np.zeros((height, width), dtype=np.uint8)
    levels[height // 4 : height * 5 // 8, width // 5 : width * 5 // 8] = 255
    return Image.fromarray(levels)
