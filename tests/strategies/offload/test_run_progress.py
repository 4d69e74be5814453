from __future__ import annotations

import pytest
from torch import nn

from dpnb.strategies.offload.run_progress import RunProgress
from dpnb.strategies.offload.streamed_network import StreamedNetwork


@pytest.fixture
def unet() -> StreamedNetwork:
    return StreamedNetwork("unet", nn.Linear(2, 2), lambda _: False)


@pytest.fixture
def vae() -> StreamedNetwork:
    return StreamedNetwork("vae", nn.Linear(2, 2), lambda _: False)


def test_the_last_call_is_that_of_the_last_step(unet: StreamedNetwork) -> None:
    progress = RunProgress()
    for index, is_last in enumerate((False, False, True)):
        progress.begin_step(index, 3)
        progress.begin_call(unet, "forward")
        assert progress.is_last_call(unet) == is_last
        assert progress.is_called_again(unet) != is_last


def test_as_many_calls_are_expected_as_in_the_step_before(unet: StreamedNetwork) -> None:
    progress = RunProgress()
    found = []
    for index in range(2):
        progress.begin_step(index, 2)
        for _ in range(2):
            progress.begin_call(unet, "forward")
            found.append(progress.is_last_call(unet))
    assert found == [False, False, False, True]


def test_a_network_that_does_not_denoise_is_not_expected_again(
    unet: StreamedNetwork, vae: StreamedNetwork
) -> None:
    progress = RunProgress()
    progress.begin_call(vae, "encode")
    assert not progress.is_called_again(vae)
    progress.begin_step(0, 2)
    progress.begin_call(unet, "forward")
    progress.begin_call(vae, "decode")
    assert progress.is_called_again(unet)
    assert not progress.is_called_again(vae)
    assert not progress.is_last_call(vae)
    assert progress.caller == (vae, "decode")


def test_nothing_is_left_of_a_run_that_is_over(unet: StreamedNetwork) -> None:
    progress = RunProgress()
    progress.begin_step(0, 1)
    progress.begin_call(unet, "forward")
    progress.reset()
    assert progress.caller is None
    assert not progress.is_last_call(unet)
    assert progress.is_idle
