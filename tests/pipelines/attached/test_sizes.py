"""Sizes are found in what a pipeline says of itself."""

from __future__ import annotations

from typing import Any

import dpnb


def test_the_unit_is_a_latent_s_side(pipe: Any) -> None:
    studio = dpnb.attach(pipe)
    assert studio.size_unit == 8
    pipe.vae_scale_factor = 32
    assert studio.size_unit == 8
    pipe.image_processor.register_to_config(vae_scale_factor=16)
    assert studio.size_unit == 16


def test_the_size_is_the_network_s(pipe: Any) -> None:
    side = pipe.unet.config.sample_size * pipe.vae_scale_factor
    assert dpnb.attach(pipe).default_size() == (side, side)


def test_the_call_s_own_size_comes_first(pipe: Any) -> None:
    kind = type(pipe)

    class Sized(kind):  # type: ignore[misc, valid-type]
        """A pipeline that says its size in its call."""

        def __call__(self, prompt: str, height: int = 48, width: int = 64) -> Any:
            return super().__call__(prompt, height=height, width=width)

    studio = dpnb.attach(Sized(**pipe.components, requires_safety_checker=False))
    assert studio.default_size() == (48, 64)
