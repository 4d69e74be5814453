"""Pictures from files and addresses, side by side, and one after the other in a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit
from urllib.request import urlopen

from dpnb.atomic import write_atomically

if TYPE_CHECKING:
    from PIL.Image import Image

PATIENCE = 30.0
"""Seconds that an address may take to answer."""


def load_image(
    image: str | Path | Image, convert_method: Callable[[Image], Image] | None = None
) -> Image:
    """A picture in colour, upright as its camera noted.

    Args:
        image: a file, an `http` or `https` address, or a picture of PIL's.
        convert_method: makes what is returned out of it; to RGB by default.

    Raises:
        ValueError: there is no such file, or the address is of another kind.
    """
    from PIL import Image, ImageOps

    if isinstance(image, Image.Image):
        opened = image
    elif urlsplit(str(image)).scheme in ("http", "https"):
        with urlopen(str(image), timeout=PATIENCE) as answer:
            opened = Image.open(answer)
            opened.load()
    elif Path(image).is_file():
        opened = Image.open(image)
    else:
        raise ValueError(
            f"{str(image)!r} is no file here and no http address; give the path of a picture."
        )
    upright = ImageOps.exif_transpose(opened)
    return upright.convert("RGB") if convert_method is None else convert_method(upright)


def make_image_grid(
    images: Sequence[Image], rows: int, cols: int, resize: int | None = None
) -> Image:
    """Pictures side by side, row by row, in cells of the size of the first.

    Args:
        images: as many as there are cells.
        rows: of the grid.
        cols: pictures in a row.
        resize: the side of each, in pixels.

    Raises:
        ValueError: there are more or fewer pictures than cells.
    """
    from PIL import Image

    if len(images) != rows * cols:
        raise ValueError(
            f"{len(images)} images do not fill {rows} rows of {cols}; give {rows * cols}, or use "
            "dpnb.contact_sheet, which takes any number."
        )
    cells = [one if resize is None else one.resize((resize, resize)) for one in images]
    width, height = cells[0].size
    grid = Image.new("RGB", (cols * width, rows * height))
    for place, cell in enumerate(cells):
        grid.paste(cell, (place % cols * width, place // cols * height))
    return grid


def export_to_gif(image: Sequence[Image], output_gif_path: str | Path, fps: int = 10) -> str:
    """Write pictures as an animation that begins anew for ever.

    Args:
        image: the pictures, in order.
        output_gif_path: of the file.
        fps: pictures per second.

    Returns:
        The file's path.
    """
    first, *others = image
    with write_atomically(output_gif_path) as file:
        first.save(
            file, "GIF", save_all=True, append_images=others, duration=round(1000 / fps), loop=0
        )
    return str(output_gif_path)


def export_to_video(
    video_frames: Any, output_video_path: str | Path | None = None, fps: int = 10, **options: Any
) -> NoReturn:
    """Refuse.

    Raises:
        NotImplementedError: always.
    """
    raise NotImplementedError(
        "dpnb writes no videos; use export_to_gif, or imageio.v3.imwrite(path, frames, fps=fps)."
    )
