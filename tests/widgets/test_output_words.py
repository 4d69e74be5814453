"""What is neither picture nor sound is told in words, and kept in numbers."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dpnb.widgets.output_words import LARGEST, describe_output, write_numbers


@dataclass
class Mesh:
    corners: Tensor
    faces: Tensor
    name: str = "a chair"


CHAIR = Mesh(torch.rand(5, 3), torch.zeros(2, 3, dtype=torch.int64))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("images", torch.zeros(1, 4, 8, 8), "latents, 1 × 4 × 8 × 8"),
        ("image_embeds", np.zeros((1, 5)), "image embeddings, 1 × 5"),
        ("text", ["a cat", "a dog"], "a cat; a dog"),
        ("text", "a cat", "a cat"),
        ("actions", [torch.zeros(3), torch.zeros(3)], "2 × actions, 3"),
        ("score", torch.tensor(0.5), "score: 0.5"),
        ("score", 3, "score: 3"),
        ("images", [CHAIR], "1 × images: Mesh (corners, 5 × 3; faces, 2 × 3)"),
        ("nothing", None, ""),
        ("nothing", [], ""),
        ("nsfw", [True], ""),
    ],
)
def test_words(name: str, value: Any, words: str) -> None:
    assert describe_output(name, value) == words


def test_numbers_can_be_saved() -> None:
    corners, faces = write_numbers("images", [CHAIR])
    assert [corners.name, faces.name] == ["images-corners", "images-faces"]
    assert faces.dtype == "int64"
    assert np.array_equal(np.load(io.BytesIO(corners.content)), CHAIR.corners.numpy())
    half = torch.rand(4, dtype=torch.bfloat16)
    [file] = write_numbers("x", [half])
    assert (file.name, file.dtype) == ("x", "float32")
    assert torch.equal(torch.from_numpy(np.load(io.BytesIO(file.content))), half.float())


def test_what_is_too_large_for_a_page_or_no_number_is_not_offered() -> None:
    assert list(write_numbers("x", np.zeros(LARGEST + 1, dtype=np.uint8))) == []
    assert list(write_numbers("x", np.zeros(LARGEST, dtype=np.uint8)[:0])) == []
    assert list(write_numbers("x", ["a", object()])) == []
