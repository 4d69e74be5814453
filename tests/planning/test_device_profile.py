"""Profiles of devices."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any, cast

import pytest
import torch

from dpnb.planning import device_benchmark
from dpnb.planning.card_slices import split_slice
from dpnb.planning.device_profile import (
    ACHIEVED_ARITHMETIC,
    ACHIEVED_BANDWIDTH,
    ACHIEVED_BY_CORES,
    Cost,
    DeviceProfile,
)
from dpnb.planning.gpu_specs import GPU_SPECS
from dpnb.planning.operations import Operation
from dpnb.strategies.torch_settings import convolves_in_tf32


@pytest.mark.parametrize("name", GPU_SPECS)
def test_cards_have_plausible_rates_and_a_source(name: str) -> None:
    card = GPU_SPECS[name]
    assert 6 << 30 <= card.memory <= 192 << 30
    assert card.link < card.bandwidth / 3
    assert 1 <= card.float16 / card.float32 <= 17
    assert "NVIDIA" in card.source


def test_a_card_is_found_by_the_names_that_people_use() -> None:
    profiles = [
        DeviceProfile.from_name(name)
        for name in ("RTX 3060", "rtx3060", "3060", "NVIDIA GeForce RTX 3060", "GeForce rtx-3060")
    ]
    assert {profile.name for profile in profiles} == {"RTX 3060"}
    assert DeviceProfile.from_name("4070 Ti").name == "RTX 4070 Ti"
    assert DeviceProfile.named("4070 Ti") == DeviceProfile.from_name("4070 Ti")


def test_an_unknown_card_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"'A100' is not .* the nearest are .*A100 80GB"):
        DeviceProfile.from_name("A100")


def test_an_operation_waits_for_arithmetic_or_for_memory() -> None:
    profile = DeviceProfile("x", 1, 100.0, 10.0, 20.0, None, 0.5, False, "here")
    product = Operation("mm", torch.float32, flops=100, nbytes=10)
    half = Operation("mm", torch.bfloat16, flops=100, nbytes=10)
    copy = Operation("copy", torch.float32, flops=0, nbytes=200)
    cost = profile.cost({product: 1, half: 2, copy: 3})
    assert cost == Cost(arithmetic=10 + 2 * 5, memory=6, calls=3.0)
    assert profile.seconds(cost) == 29


def test_the_cpu_is_measured() -> None:
    profile = DeviceProfile.measure("cpu")
    assert profile.link is None
    assert 1e8 < profile.bandwidth < 1e12
    assert 1e8 < profile.float32 < 1e14
    assert 1e-7 < profile.call < 1e-2
    assert 1e-6 < profile.transfer < 1e-1


def test_the_best_trial_counts_and_the_spread_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = DeviceProfile.measure("cpu")
    said = re.search(r"measured now, best of (\d+) trials; half took (\d+)% longer", quick.source)
    assert said is not None
    assert int(said.group(1)) >= device_benchmark.ROUNDS
    plain = device_benchmark.DeviceBenchmark._time_once
    count = itertools.count()

    def disturbed(bench: Any, do: Any) -> float:
        return plain(bench, do) * (1 if next(count) % 4 == 0 else 50)

    monkeypatch.setattr(device_benchmark.DeviceBenchmark, "_time_once", disturbed)
    slow = DeviceProfile.measure("cpu")
    assert slow.float32 > quick.float32 / 5
    assert "% longer" in slow.source
    assert int(slow.source.split()[-2].rstrip("%")) > 1000


def test_a_card_is_described_by_its_sheet_and_our_own_factors() -> None:
    shown = DeviceProfile.from_name("RTX 3060").describe()
    assert "by the sheet 360 GB/s, 25.5 TFLOP/s in 16 bits, 12.7 in 32, link 31.5 GB/s: NV" in shown
    assert "reckoned with 0.8 of the memory's rate, 0.55 of the arithmetic in 16 bits" in shown
    assert "0.75 in 32, 0.8 of the link)" in shown
    assert "288" not in shown
    measured = DeviceProfile("x", 1 << 30, 1e11, 1e12, 1e12, None, 0.5, False, "measured now")
    assert "reckoned" not in measured.describe()
    assert "sheet" not in measured.describe()


@pytest.mark.parametrize("name", GPU_SPECS)
def test_what_is_reckoned_with_is_the_sheet_by_our_factors(name: str) -> None:
    profile = DeviceProfile.from_name(name)
    assert profile.sheet == GPU_SPECS[name]
    assert profile.bandwidth == ACHIEVED_BANDWIDTH * GPU_SPECS[name].bandwidth
    assert profile.float32 == ACHIEVED_BY_CORES * GPU_SPECS[name].float32
    has_units = name != "P100"
    achieved = ACHIEVED_ARITHMETIC if has_units else ACHIEVED_BY_CORES
    assert profile.float16 == achieved * GPU_SPECS[name].float16


@pytest.mark.parametrize(
    ("name", "kind", "convolves", "precision", "is_rounded"),
    [
        ("A100 40GB", "aten::convolution", True, "highest", True),
        ("A100 40GB", "aten::convolution", False, "high", False),
        ("A100 40GB", "aten::addmm", True, "highest", False),
        ("A100 40GB", "aten::addmm", False, "high", True),
        ("A100 40GB 1g.5gb", "aten::bmm", False, "medium", True),
        ("RTX 3060", "aten::convolution", True, "highest", True),
        ("A100 40GB", "aten::add", True, "high", False),
        ("T4", "aten::convolution", True, "high", False),
        ("P100", "aten::convolution", True, "high", False),
    ],
)
def test_float32_is_reckoned_as_torch_is_set(
    name: str, kind: str, convolves: bool, precision: str, is_rounded: bool, torch_as_it_was: None
) -> None:
    torch.backends.cudnn.allow_tf32 = convolves
    torch.set_float32_matmul_precision(precision)
    profile = DeviceProfile.from_name(name)
    expected = profile.float16 / 2 if is_rounded else profile.float32
    assert profile.rate(Operation(kind, torch.float32, 1, 1)) == expected
    assert profile.rate(Operation(kind, torch.float64, 1, 1)) == profile.float32
    assert profile.rate(Operation(kind, torch.bfloat16, 1, 1)) == profile.float16


def test_a_card_that_was_measured_keeps_its_rate_of_float32(torch_as_it_was: None) -> None:
    torch.backends.cudnn.allow_tf32 = True
    measured = DeviceProfile("x", 1 << 30, 1e11, 1e12, 4e12, 1e9, 1e-5, True, "measured now")
    assert measured.rate(Operation("aten::convolution", torch.float32, 1, 1)) == 1e12


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="torch has no newer way")
@pytest.mark.parametrize(("word", "may_round"), [("ieee", False), ("tf32", True)])
def test_the_newer_way_to_say_so_counts(word: str, may_round: bool, torch_as_it_was: None) -> None:
    torch.backends.cudnn.allow_tf32 = not may_round  # what is said in both ways cannot be asked for
    convolutions = cast(Any, torch.backends.cudnn).conv
    before = convolutions.fp32_precision
    try:
        convolutions.fp32_precision = word
        assert convolves_in_tf32() is may_round
    finally:
        convolutions.fp32_precision = before


@pytest.fixture
def torch_as_it_was() -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    yield
    torch.backends.cudnn.allow_tf32 = before[0]
    torch.set_float32_matmul_precision(before[1])


@pytest.mark.gpu
def test_a_gpu_is_measured() -> None:
    profile = DeviceProfile.measure("cuda")
    assert profile.link is not None
    assert profile.link < profile.bandwidth
    assert profile.float16 > profile.float32


@pytest.mark.parametrize("name", ["A100 40GB 1g.5gb", "a100 40gb MIG 1g.5gb"])
def test_a_slice_of_a_card_has_its_share(name: str) -> None:
    whole, part = DeviceProfile.from_name("A100 40GB"), DeviceProfile.from_name(name)
    assert part.memory == 4.75 * (1 << 30)
    assert part.float16 == pytest.approx(whole.float16 / 7)
    assert part.bandwidth == pytest.approx(whole.bandwidth * 4.75 / 40)
    assert part.capability == (8, 0)
    assert part.name == "A100 40GB 1g.5gb"


def test_a_slice_that_no_card_has_is_refused() -> None:
    with pytest.raises(ValueError, match=r"A100 40GB has 40\.0 GiB, and no slice 1g.80gb"):
        DeviceProfile.from_name("A100 40GB 1g.80gb")
    with pytest.raises(ValueError, match=r"RTX 3060 cannot be divided into slices; .*A100 40GB"):
        DeviceProfile.from_name("RTX 3060 1g.5gb")
    with pytest.raises(ValueError, match="is no slice of a card; one has 1, 2, 3, 4, 7 parts"):
        DeviceProfile.from_name("A100 40GB 5g.20gb")
    assert split_slice("RTX 3060") == ("RTX 3060", None)


def test_every_card_says_its_architecture() -> None:
    for name in GPU_SPECS:
        assert DeviceProfile.from_name(name).capability in {
            (6, 0), (7, 0), (7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (12, 0)
        }  # fmt: skip
