from __future__ import annotations

from pathlib import Path

import pytest
import torch

import dpnb
from dpnb.errors import CheckpointError


def test_the_settings_say_which_class(tmp_path: Path) -> None:
    pipe = dpnb.random_pipeline("tiny-sd")
    pipe.save_pretrained(tmp_path)
    for name in ("unet", "vae", "text_encoder"):
        part = dpnb.AutoModel.from_pretrained(tmp_path, subfolder=name)
        assert type(part) is type(getattr(pipe, name))
        own = part.state_dict()
        assert all(torch.equal(own[k], v) for k, v in getattr(pipe, name).state_dict().items())


def test_a_class_that_is_not_here_is_refused() -> None:
    with pytest.raises(CheckpointError, match="dpnb has no model Nothing"):
        dpnb.AutoModel.from_config({"_class_name": "Nothing"})
    with pytest.raises(TypeError, match="no model of its own"):
        dpnb.AutoModel()
