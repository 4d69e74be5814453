"""The text-to-image model that ships with the package: emoji, 64 x 64 pixels, 11 MB.

`FOLDER` is a Stable Diffusion folder. An earlier form of `python -m dpnb.emoji.train` trained it.
"""

from pathlib import Path

FOLDER: Path = Path(__file__).parent / "emoji-64"

PROMPTS: tuple[str, ...] = (
    "a red apple",
    "cat face",
    "dog face",
    "rocket",
    "pizza",
    "house",
    "automobile",
    "a tree",
    "sun",
    "red heart",
    "grinning face",
    "crying face",
    "penguin",
    "a ghost",
    "sunflower",
    "umbrella",
    "strawberry on a yellow background",
    "panda on a pink background",
    "a blue heart",
    "a purple cat",
    "a green car",
    "an orange fish on a blue background",
    "a yellow star on a purple background",
    "a hamburger on a green background",
)
"""Prompts that show what the model can do, and how one words them."""
