from __future__ import annotations

import dpnb


def test_the_size_of_a_network() -> None:
    vae = dpnb.random_pipeline("tiny-sd").vae.requires_grad_(True)
    count = sum(p.numel() for p in vae.parameters())
    assert vae.num_parameters() == count
    assert vae.get_memory_footprint() == 4 * count
    vae.decoder.requires_grad_(False)
    decoder = sum(p.numel() for p in vae.decoder.parameters())
    assert vae.num_parameters(only_trainable=True) == count - decoder
