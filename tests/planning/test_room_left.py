"""Memory that other programs take after something was planned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dpnb.metering.host import HostMeter
from dpnb.planning.planner import plan
from dpnb.planning.room_left import describe_shortage
from dpnb.planning.table import PlanError, PlanTable
from dpnb.strategies.vae import VaeTiling
from tests.planning.test_planner import SMALL
from tests.strategies.pipes import build


@pytest.fixture
def pipe() -> Any:
    return build("tiny-sd")


@pytest.fixture
def table(pipe: Any) -> PlanTable:
    return plan(pipe, **SMALL)


def take_memory(nbytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on other programs hold so much more."""
    read = HostMeter.read

    def read_less(meter: HostMeter) -> Any:
        reading = read(meter)
        return replace(reading, others=(reading.others or 0) + nbytes)

    monkeypatch.setattr(HostMeter, "read", read_less)


def test_a_plan_that_has_no_room_any_more_is_refused_and_nothing_changes(
    pipe: Any, table: PlanTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe.strategies.enable(VaeTiling())
    take_memory(1 << 50, monkeypatch)
    words = r"Other programs hold .* of .* now, and held .* when this was planned: 0 B are left"
    with pytest.raises(PlanError, match=words):
        table.apply(pipe)
    assert pipe.strategies.active == {VaeTiling()}


def test_what_still_has_room_is_switched_on(
    pipe: Any, table: PlanTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_memory(table.device.available // 2, monkeypatch)
    chosen = table.apply(pipe)
    assert pipe.strategies.active == chosen.plan


def test_what_the_process_itself_has_kept_is_no_matter_of_others(
    pipe: Any, table: PlanTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = HostMeter.read

    def read_more(meter: HostMeter) -> Any:
        reading = read(meter)
        return replace(reading, current=reading.current + table.device.memory)

    monkeypatch.setattr(HostMeter, "read", read_more)
    assert describe_shortage(table.device, table.best(), pipe) is None


def test_a_plan_that_never_had_room_is_no_matter_of_others(
    pipe: Any, table: PlanTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowded = replace(table.device, others=table.device.memory)
    take_memory(table.device.available, monkeypatch)
    assert describe_shortage(crowded, table.best(), pipe) is None


def test_of_a_card_elsewhere_nothing_is_known(pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    table = plan(pipe, device="RTX 3060", **SMALL)
    take_memory(1 << 50, monkeypatch)
    assert describe_shortage(table.device, table.best(), pipe) is None


def test_a_simulated_link_is_of_this_machine(pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    table = plan(pipe, device="simulated:1GiB/s", **SMALL)
    take_memory(1 << 50, monkeypatch)
    assert describe_shortage(table.device, table.best(), pipe) is not None
    other = replace(table.device, name="another processor")
    assert describe_shortage(other, table.best(), pipe) is None
