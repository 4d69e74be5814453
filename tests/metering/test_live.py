"""Weights, and what runs make: counted in the first run of a form, told in later ones."""

from __future__ import annotations

import torch

from dpnb.metering.live import MOST_FORMS, Count, KnownCounts, LiveMeter, WeighedMeter
from dpnb.metering.reading import Reading
from dpnb.metering.tensors import TensorMeter

WEIGHTS = 1000


def run(meter: LiveMeter, sizes: tuple[int, ...]) -> list[Reading]:
    """Steps that keep `sizes` floats each, beside as many for a moment."""
    kept, readings = [], []
    for size in sizes:
        with meter:
            meter.reset_peak()
            kept.append(torch.zeros(size))
            torch.zeros(size)
            readings.append(meter.read())
    return readings


def figures(readings: list[Reading]) -> list[tuple[int, int]]:
    return [(reading.current, reading.peak) for reading in readings]


def test_weights_and_what_is_made_are_one_number() -> None:
    first, second = run(LiveMeter(lambda: WEIGHTS, None, KnownCounts()), (10, 20))
    assert (first.current, first.peak) == (WEIGHTS + 40, WEIGHTS + 80)
    assert (second.current, second.peak) == (WEIGHTS + 120, WEIGHTS + 200)
    assert first.weights == second.weights == WEIGHTS
    assert first.process is None


def test_runs_of_one_form_are_counted_once() -> None:
    known = KnownCounts()
    first = LiveMeter(lambda: WEIGHTS, "form", known)
    assert first.is_counting
    counted = run(first, (10, 20))
    first.keep()
    again = LiveMeter(lambda: WEIGHTS, "form", known)
    assert not again.is_counting
    assert figures(run(again, (1, 1))) == figures(counted)
    assert LiveMeter(lambda: WEIGHTS, "another form", known).is_counting
    assert LiveMeter(lambda: WEIGHTS, None, known).is_counting


def test_a_longer_run_goes_on_as_its_last_step() -> None:
    known = KnownCounts({"form": (Count(40, 80), Count(60, 90))})
    meter = LiveMeter(lambda: 0, "form", known)
    assert figures(run(meter, (1, 1, 1))) == [(40, 80), (60, 90), (60, 90)]
    assert meter.read().current == 60


def test_what_is_switched_in_the_middle_is_counted_from_there() -> None:
    known, weights = KnownCounts({"form": (Count(40, 80), Count(60, 90))}), [WEIGHTS]
    meter = LiveMeter(lambda: weights[0], "form", known)
    run(meter, (1,))
    weights[0] = 500
    meter.note_change()
    assert meter.is_counting
    [after] = run(meter, (10,))
    assert after.weights == 500
    assert (after.current, after.peak) == (500 + 40 + 40, 500 + 40 + 80)
    meter.keep()
    assert known.by_form == {"form": (Count(40, 80), Count(60, 90))}


def test_a_change_while_counting_leaves_nothing_behind() -> None:
    known = KnownCounts()
    meter = LiveMeter(lambda: WEIGHTS, "form", known)
    run(meter, (10,))
    meter.note_change()
    [after] = run(meter, (10,))
    assert after.current == WEIGHTS + 40
    meter.keep()
    assert known.by_form == {}


def test_the_oldest_form_is_forgotten() -> None:
    known = KnownCounts()
    for form in range(MOST_FORMS + 3):
        known.keep(form, (Count(),))
    assert list(known.by_form) == list(range(3, MOST_FORMS + 3))
    known.keep(3, (Count(1, 1),))
    assert list(known.by_form)[-1] == 3


def test_the_process_stands_beside() -> None:
    machine = Reading(0.0, 7, 9, free=5, limit=20, others=8)
    meter = LiveMeter(lambda: WEIGHTS, None, KnownCounts(), lambda: machine)
    reading = meter.read()
    assert (reading.current, reading.process, reading.free) == (WEIGHTS, 7, 5)
    assert (reading.limit, reading.others) == (20, 8)


def test_another_meter_is_weighed() -> None:
    weights = [WEIGHTS]
    meter = WeighedMeter(TensorMeter(), lambda: weights[0])
    with meter:
        meter.reset_peak()
        kept = torch.zeros(10)
        assert (meter.read().current, meter.read().weights) == (kept.nbytes, WEIGHTS)
    weights[0] = 1
    assert meter.read().weights == WEIGHTS
    meter.note_change()
    meter.keep()
    assert meter.read().weights == 1
    assert (meter.name, meter.label) == (TensorMeter.name, TensorMeter.label)
