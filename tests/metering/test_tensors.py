import torch

from dpnb.metering.tensors import TensorMeter


def test_live_bytes_rise_and_fall_with_their_tensors() -> None:
    with TensorMeter() as meter:
        a = torch.zeros(1000)
        b = a + 1
        assert meter.current == 8000
        del a
        assert meter.current == 4000
        b.add_(1)
        view = b[10:].view(-1, 2)
        assert meter.current == 4000
        del b
        assert meter.current == 4000
        del view
    assert meter.current == 0
    assert meter.peak == 8000


def test_the_peak_can_be_forgotten() -> None:
    with TensorMeter() as meter:
        torch.zeros(1000)
        meter.reset_peak()
        kept = torch.zeros(10)
    assert meter.peak == 40
    assert kept.shape == (10,)
