from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from dpnb import DiffusionPipeline, contact_sheet
from dpnb.pipelines.pictures.images import postprocess


def test_one_picture_or_a_batch_becomes_pictures() -> None:
    assert DiffusionPipeline.numpy_to_pil(np.zeros((4, 6, 3)))[0].size == (6, 4)
    assert len(DiffusionPipeline.numpy_to_pil(np.zeros((2, 4, 6, 3)))) == 2
    assert DiffusionPipeline.numpy_to_pil(np.zeros((1, 4, 6, 1)))[0].mode == "L"


def test_values_outside_are_clipped() -> None:
    picture = DiffusionPipeline.numpy_to_pil(np.array([[[1.5, -0.5, 0.5]]]))[0]
    assert picture.getpixel((0, 0)) == (255, 0, 128)


def test_what_is_no_array_is_refused() -> None:
    with pytest.raises(TypeError, match="takes a numpy array, not list; stack the pictures"):
        DiffusionPipeline.numpy_to_pil([np.zeros((4, 4, 3))])  # type: ignore[arg-type]


def test_pictures_are_scaled_from_minus_one_to_one() -> None:
    pictures = torch.tensor([-1.0, 0.0, 1.0, 3.0]).view(1, 1, 2, 2)
    assert postprocess(pictures, "pt").flatten().tolist() == [0.0, 0.5, 1.0, 1.0]
    kept = postprocess(torch.zeros(2, 1, 1, 1), "np", [True, False])
    assert kept.flatten().tolist() == [0.5, 0.0]


def test_a_progress_bar_needs_something_to_count() -> None:
    pipe = DiffusionPipeline()
    with pytest.raises(ValueError, match="needs an iterable or a total"):
        pipe.progress_bar()
    pipe.set_progress_bar_config(disable=True)
    assert list(pipe.progress_bar([1, 2])) == [1, 2]
    with pipe.progress_bar(total=3) as bar:
        assert bar.total == 3
        assert bar.disable


def test_a_sheet_has_room_for_every_picture_and_caption() -> None:
    pictures = [Image.new("RGB", (64, 32), "red")] * 5
    sheet = contact_sheet(pictures, ["a caption of very many words that wraps"] * 5, columns=3)
    one_line = contact_sheet(pictures, ["a"] * 5, columns=3)
    assert sheet.width == one_line.width
    assert sheet.height > one_line.height
    assert sheet.getpixel((70, 100)) == (255, 0, 0)
