"""Pictures from files and addresses."""

from __future__ import annotations

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dpnb.pipelines.pictures.files import export_to_gif, load_image, make_image_grid


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Twice as wide as high; its camera noted that it lies on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4), "red").save(tmp_path / "a.png", exif=exif)
    return tmp_path / "a.png"


def test_a_picture_stands_upright(picture: Path) -> None:
    assert load_image(picture).size == (4, 8)
    assert load_image(str(picture), lambda image: image.convert("L")).mode == "L"
    assert load_image(Image.new("L", (2, 2))).mode == "RGB"


def test_a_picture_from_an_address(picture: Path) -> None:
    handler = functools.partial(SimpleHTTPRequestHandler, directory=picture.parent)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        found = load_image(f"http://127.0.0.1:{server.server_address[1]}/a.png")
        server.shutdown()
        thread.join()
    assert found.getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("name", ["nothing.png", "ftp://example.org/a.png"])
def test_what_is_no_picture_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no file here and no http address"):
        load_image(name)


def test_a_grid_is_full() -> None:
    cells = [Image.new("RGB", (2, 3), (level, 0, 0)) for level in range(6)]
    grid = make_image_grid(cells, rows=2, cols=3)
    assert np.asarray(grid)[::3, ::2, 0].tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(ValueError, match="6 images do not fill 2 rows of 2; give 4"):
        make_image_grid(cells, 2, 2)


def test_an_animation_begins_anew(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "lime")]
    path = export_to_gif(frames, tmp_path / "a.gif", fps=4)
    with Image.open(path) as made:
        assert (made.n_frames, made.info["duration"], made.info["loop"]) == (3, 250, 0)
