from __future__ import annotations

import pytest
import torch

from dpnb.emoji import preview


def test_colours_are_fitted_to_pictures_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "PROMPTS", ("red apple", "blue heart"))
    monkeypatch.setattr(preview, "STEPS", 2)
    painted = preview.fit().paint(torch.zeros(1, 4, 16, 16))
    assert painted.isfinite().all()
