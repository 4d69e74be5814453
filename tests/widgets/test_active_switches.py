from __future__ import annotations

from typing import Any

import dpnb
from dpnb.widgets.active_switches import ActiveSwitches
from tests.widgets.conftest import TIMEOUT, Gate


def labels(panel: ActiveSwitches) -> list[str]:
    return [button.description for button in panel.buttons.values()]


def test_what_is_on_is_a_button_that_takes_it_off(pipe: Any) -> None:
    panel = ActiveSwitches(pipe)
    assert labels(panel) == []
    pipe.strategies.use([dpnb.FreeU(), dpnb.AttentionSlicing()])
    assert labels(panel) == ["Attention slicing ×", "FreeU ×"]
    freeu = next(b for s, b in panel.buttons.items() if isinstance(s, dpnb.FreeU))
    assert freeu.tooltip == "Switch off FreeU"
    freeu.click()
    assert pipe.strategies.active == {dpnb.AttentionSlicing()}
    assert labels(panel) == ["Attention slicing ×"]
    assert freeu.comm is None
    panel.close()


def test_what_waits_for_a_step_says_so(pipe: Any, gate: Gate) -> None:
    panel = ActiveSwitches(pipe)
    pipe.strategies.use([dpnb.AttentionSlicing()])
    job = panel.session.start(dpnb.Request("a cat", steps=2, width=32, height=32))
    gate.reached()
    panel.session.use(frozenset({dpnb.FreeU()}))
    said = {b.description: b.tooltip for b in panel.buttons.values()}
    assert said["FreeU ×"] == "FreeU comes on at the next step"
    assert said["Attention slicing ×"] == "Attention slicing goes off at the next step"
    assert all("dpnb-waits" in b._dom_classes for b in panel.buttons.values())
    gate.open(1000)
    job.wait(TIMEOUT)
    assert labels(panel) == ["FreeU ×"]
    assert "dpnb-waits" not in next(iter(panel.buttons.values()))._dom_classes
    panel.close()
