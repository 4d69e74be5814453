"""Budgets, cards, tables, and what cannot be planned."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

import dpnb
from dpnb.planning.candidates import list_candidates
from dpnb.planning.device_profile import DeviceProfile
from dpnb.planning.plan_names import short_plan_name
from dpnb.planning.planner import plan
from dpnb.planning.run_failures import SimulatedRunError
from dpnb.planning.table import PlanError, PlanTable
from dpnb.planning.ties import TIE, group_ties
from dpnb.strategies.guidance_interval import GuidanceInterval
from dpnb.strategies.placement import SequentialOffload
from dpnb.strategies.plans import plan_to_python
from dpnb.strategies.precision import Precision
from dpnb.strategies.projection import QKVFusion
from dpnb.strategies.step_cache import StepCache
from dpnb.strategies.strategy import Effect, Slot, Strategy
from tests.pipelines.test_unconditional import make as make_without_words

CARD = "RTX 3060"

LINKED = replace(
    DeviceProfile.from_name(CARD), is_asynchronous=False, torch_device="simulated:1GiB/s"
)
"""Computes and streams like the card, but has no context: budgets may be as small as pictures."""

SMALL: dict[str, Any] = {"height": 32, "width": 32, "steps": 4, "dtype": "float16"}


@pytest.fixture(scope="module")
def table() -> PlanTable:
    return plan("tiny-sd", "1.05MiB", device=LINKED, **SMALL)


def test_the_fastest_that_fits_comes_first(table: PlanTable) -> None:
    fitting = table.fitting
    assert 0 < len(fitting) < len(table)
    assert fitting == table.rows[: len(fitting)]
    groups = group_ties(fitting, lambda row: (row.peak, row.seconds))
    assert [row.seconds for row in fitting] == [row.seconds for group in groups for row in group]
    assert [row.peak for row in groups[0]] == sorted(row.peak for row in groups[0])
    assert table.best().seconds <= (1 + TIE) * min(row.seconds for row in fitting)
    assert table.best() in table.front
    assert all(row.peak > table.budget for row in table.rows[len(fitting) :])
    assert table.best() is table.rows[0]


def test_no_two_plans_are_the_same_and_all_are_exact(table: PlanTable) -> None:
    assert len({row.plan for row in table}) == len(table)
    assert all(row.is_exact for row in table)


def test_what_changes_the_picture_is_left_out_and_said_so(table: PlanTable) -> None:
    assert all(strategy.effect in Effect for strategy in list_candidates())
    assert "draws another picture" in table.left_out["FreeU"]
    assert "ask for such plans with approximate" in table.left_out["LayerwiseCasting"]
    assert "a plan is for one" in table.left_out["DeviceMap"]


@pytest.mark.slow
def test_plans_may_change_the_picture_if_they_are_allowed_to() -> None:
    size: dict[str, Any] = {"height": 32, "width": 32, "steps": 2, "dtype": "bfloat16"}
    table = plan("tiny-sd", device=CARD, approximate=True, **size)
    used = frozenset().union(*(row.plan for row in table))
    assert {strategy.effect for strategy in used} == {Effect.EXACT, Effect.APPROXIMATE}
    assert "FreeU" in table.left_out


def test_given_plans_alone_are_predicted(table: PlanTable) -> None:
    rows = {row.plan: row for row in table}
    freeu = frozenset({dpnb.FreeU()})
    wanted = [*list(rows)[:3], freeu, frozenset({dpnb.DeviceMap()}), frozenset({dpnb.XFormers()})]
    given = plan("tiny-sd", device=LINKED, plans=wanted, **SMALL)
    assert {row.plan for row in given} == set(wanted[:4])
    assert all(row == rows[row.plan] for row in given if row.plan != freeu)
    assert len(given.left_out) == 2


def test_an_impossible_budget_names_the_least_that_works_and_its_plan(table: PlanTable) -> None:
    small = replace(table, budget=1024)
    assert not small.fitting
    with pytest.raises(PlanError, match=r"with 1\.00 KiB; the least that works is .* with .*Vae"):
        small.best()
    least = min(row.peak for row in table)
    assert replace(table, budget=least).best().peak == least
    assert "the least that works" in small._repr_html_()


def test_the_best_plan_is_switched_on(table: PlanTable) -> None:
    pipe: Any = dpnb.random_pipeline("tiny-sd")
    fitting = [row for row in table if not any(s.slot is Slot.PLACEMENT for s in row.plan)]
    resident = replace(table, rows=tuple(fitting), budget=1 << 30)
    row = resident.apply(pipe)
    assert pipe.strategies.active == row.plan == resident.best().plan
    with pytest.raises(PlanError):
        replace(resident, budget=1).apply(pipe)
    assert pipe.strategies.active == row.plan


def test_a_table_survives_json(table: PlanTable, tmp_path: Path) -> None:
    table.save(tmp_path / "plans.json")
    assert PlanTable.load(tmp_path / "plans.json") == table
    with pytest.raises(ValueError, match="not 'dpnb plans 1'"):
        PlanTable.from_json({"format": "something"})


SLICING = {"strategy": "AttentionSlicing", "slice_size": {}}


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        (("device",), None, "plans.device is None; it must be dict."),
        (("device", "memory"), "x", "plans.device.memory is 'x'; it must be int."),
        (("workload", "steps"), 0, "steps is 0; it must be a whole number of at least 1."),
        (("budget",), float("inf"), "plans.budget is inf; it must be int."),
        (("rows", 0, "peaks"), [], "plans.rows[0].peaks is []; it must be dict."),
        (("rows", 0, "peaks"), {}, "peaks is {}; it must hold the bytes of one stage at least."),
        (("rows", 0, "seconds"), -1, "plans.rows[0].seconds is -1; it must be float from 0"),
        (("budget",), -5, "budget is -5; it must be a whole number of at least 0."),
        (("rows", 0, "peaks", "text"), [], "plans.rows[0].peaks.text is []; it must be int from 0"),
        (("rows", 0, "plan"), 5, "plan is 5; it must be list."),
        (("rows", 0, "plan"), [5], "plan[0] is 5; it must be dict."),
        (("rows", 0, "plan"), [{"strategy": {}}], "{} is no strategy; there are"),
        (("rows", 0, "plan"), [SLICING], "AttentionSlicing.slice_size is {}; it must be int or"),
        (("rows", 0, "more"), 1, "plans.rows[0] has "),
        (("left_out",), {"FreeU": 5}, "plans.left_out.FreeU is 5; it must be str."),
    ],
)
def test_a_table_of_which_something_is_wrong_is_refused_by_its_place(
    place: tuple[Any, ...], value: Any, sentence: str, table: PlanTable, tmp_path: Path
) -> None:
    values = table.to_json()
    container: Any = values
    for key in place[:-1]:
        container = container[key]
    container[place[-1]] = value
    (tmp_path / "plans.json").write_text(json.dumps(values))
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        PlanTable.load(tmp_path / "plans.json")
    assert sentence in str(caught.value)


def test_a_table_is_shown(table: PlanTable) -> None:
    console = Console(width=300, file=io.StringIO())
    console.print(table)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "plans fit in 1.05 MiB; predicted" in shown
    assert "Left out: XFormers. XFormers needs the package xformers; install dpnb[x" in shown
    html = table._repr_html_()
    assert html.count("<tr") == len(table.front) + 1
    assert f"{len(table) - len(table.front)} further plans are no better than these" in html
    assert "in_full() of this table shows all" in html
    assert table.in_full()._repr_html_().count("<tr") == len(table) + 1
    assert "predicted" in html


def test_the_python_of_the_best_plan_switches_it_on(table: PlanTable) -> None:
    pipe: Any = dpnb.random_pipeline("tiny-sd")
    best = next(row for row in table if row.plan and not row.moved)
    exec(plan_to_python(best.plan), {"pipe": pipe})
    assert pipe.strategies.active == best.plan


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"budget": "plenty"}, "'plenty' is not a size"),
        ({"budget": "8MiB"}, "8.00 MiB is less than a CUDA context takes by itself, some 256 MiB"),
        (
            {"device": "T4", "dtype": "bfloat16"},
            'T4 does not compute in bfloat16: its architecture is older; plan with dtype="float16"',
        ),
        ({"device": "H100 PCIe 9g.10gb"}, "'H100 PCIe 9g.10gb' is no slice of a card"),
        ({"device": "RTX 3061"}, "the nearest are RTX 3060"),
        ({"height": 65}, "height is 65; it must be a positive multiple of 8, such as 64"),
        ({"batch": 0}, "batch is 0; it must be a whole number of at least 1"),
        ({"steps": 1.5}, "steps is 1.5"),
        ({"frames": 16}, "frames is 16, and a call of StableDiffusionPipeline takes nothing of"),
        ({"width": 100_000}, "width is 100000; plans go up to 16384 pixels a side"),
        ({"device": "simulated:"}, "'simulated:' is no simulated link; write one as"),
        ({"model": "sd16"}, "'sd16' is neither an existing folder nor|sd16"),
    ],
)
def test_mistakes_are_one_sentence(arguments: dict[str, Any], sentence: str) -> None:
    given = {"model": "tiny-sd", "device": CARD, **arguments}
    with pytest.raises((ValueError, OSError), match=sentence):
        plan(given.pop("model"), **given)


@pytest.mark.parametrize("plans", ["fast", 5, [None], ["VaeTiling"], [[5]]])
def test_what_are_no_plans_is_refused(plans: Any) -> None:
    with pytest.raises(TypeError, match=r'give "all", or a list of plans|is not a strategy'):
        plan("tiny-sd", device=CARD, plans=plans)
    with pytest.raises(TypeError, match=r"workload is .*; give a Workload, such as dpnb.Workload"):
        plan("tiny-sd", device=CARD, workload=plans)


def test_a_strategy_is_a_plan_and_so_are_several() -> None:
    one, other = dpnb.VaeTiling(), dpnb.VaeSlicing()
    for plans in (one, [one], [[one]], iter([{one}])):
        table = plan("tiny-sd", device=CARD, steps=1, plans=plans)  # type: ignore[arg-type]
        assert [row.plan for row in table] == [frozenset({one})]
    both = plan("tiny-sd", device=CARD, steps=1, plans=[one, [one, other]])
    assert {row.plan for row in both} == {frozenset({one}), frozenset({one, other})}
    assert len(plan("tiny-sd", device=CARD, steps=1, plans=both)) == 2


def test_what_a_call_has_no_word_for_is_refused() -> None:
    pipe = make_without_words(dpnb.DDPMPipeline)
    assert plan(pipe, device=CARD, batch=2, steps=2, plans=[[]]).workload.batch == 2
    for given in ({"guidance_scale": 3.0}, {"frames": 2}):
        with pytest.raises(ValueError, match=r"and a call of DDPMPipeline takes nothing"):
            plan(pipe, device=CARD, **given)


def test_one_tensor_may_be_larger_than_this_machine() -> None:
    row = plan("tiny-sd", device=CARD, height=16384, width=16384, batch=512, plans=[[]]).rows[0]
    assert row.peaks["denoising"] > 1 << 40
    with pytest.raises(SimulatedRunError, match=r"cannot be simulated: one of its tensors is"):
        plan("tiny-sd", device=CARD, height=16384, width=16384, batch=1 << 28, plans=[[]])


def test_a_network_cannot_be_planned_for() -> None:
    with pytest.raises(TypeError, match="Linear cannot be planned for; give a pipeline"):
        plan(torch.nn.Linear(2, 2), device=CARD)


@pytest.mark.slow
def test_a_slow_link_binds_what_streams() -> None:
    slow = replace(DeviceProfile.from_name("RTX 4090"), link=1e6)
    table = plan("dpnb/emoji-64", steps=4, device=slow)
    streamed = [row for row in table if SequentialOffload() in row.plan]
    assert {row.bound_by for row in streamed} == {"link"}
    assert all(row.moved > 1 << 20 for row in streamed)
    resident = min(row.seconds for row in table if not row.moved)
    assert all(row.seconds > 10 * resident for row in streamed)


@pytest.mark.slow
def test_a_full_plan_of_stable_diffusion_xl_takes_little() -> None:
    code = (
        "import time, torch, transformers\n"
        "from pathlib import Path\n"
        "from dpnb.planning.planner import plan\n"
        "started = time.process_time()\n"
        "table = plan('sdxl', '8GiB', height=1024, width=1024, device='RTX 3060')\n"
        "took = time.process_time() - started\n"
        "lines = Path('/proc/self/status').read_text().splitlines()\n"
        "(peak,) = [int(line.split()[1]) * 1024 for line in lines if line.startswith('VmHWM')]\n"
        "print(len(table), took, peak, table.best().peak)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    count, took, peak, best = map(float, result.stdout.split())
    assert count >= 20
    assert best <= 8 << 30
    assert peak <= 1.5 * (1 << 30)
    assert took <= 40, "of processor time, however busy this machine is: 20 s of two idle cores"


@pytest.mark.parametrize("seed", range(10))
def test_whatever_the_budget_the_best_plan_is_on_the_front(table: PlanTable, seed: int) -> None:
    sizes = sorted({row.peak for row in table})
    within = table.within(sizes[seed * len(sizes) // 10])
    assert within.best() in within.front
    assert within.best() is within.rows[0]


def test_a_card_holds_all_that_is_needed_there() -> None:
    table = plan("tiny-sd", device=CARD, plans=[frozenset()], **SMALL)
    (row,) = table
    assert table.budget == 12 << 30
    assert row.memory is not None
    assert row.peak < row.memory.allocated < row.memory.reserved < row.least_needed < row.needed
    assert table.within(row.needed).fits(row)
    between = table.within(row.needed - 1)
    assert (between.fits(row), between.may_fit(row)) == (False, True)
    assert ">perhaps<" in between.in_full()._repr_html_()
    assert not table.within(row.least_needed - 1).may_fit(row)
    shown = table._repr_html_()
    assert all(f">{name}<" in shown for name in ("Peak", "Allocated", "Reserved", "On card"))
    assert "on the card stands the context with its kernels beside" in shown
    with pytest.raises(PlanError, match=r"the least that works is 53\d MiB"):
        table.within(300 << 20).best()
    assert PlanTable.from_json(table.to_json()) == table


def test_other_programs_take_their_part_of_a_card() -> None:
    busy = replace(DeviceProfile.from_name(CARD), others=3 << 30)
    for budget, left in ((None, 9), ("12GiB", 9), ("4GiB", 4)):
        table = plan("tiny-sd", budget, device=busy, plans=[frozenset()], **SMALL)
        assert table.budget == left << 30
        assert "Other programs hold 3.00 GiB of its memory now." in table._repr_html_()


def test_what_the_process_holds_on_the_cpu_is_said_and_not_planned_with() -> None:
    table = plan("tiny-sd", device="cpu", plans=[frozenset()], **{**SMALL, "dtype": "float32"})
    held = table.device
    assert held.process > 50 << 20, "the interpreter and torch's libraries"
    assert table.budget == max(held.memory - held.others - held.process, 0) > 0
    assert "Beside tensors this process holds" in table._repr_html_()
    assert table.rows[0].memory is None


def test_weights_that_are_loaded_are_no_part_of_what_the_process_holds_beside_tensors() -> None:
    weights = torch.nn.Linear(4096, 8192)  # 128 MiB
    pipe: Any = dpnb.random_pipeline("tiny-sd")
    before = plan(pipe, device="cpu", plans=[frozenset()], height=32, width=32).device.process
    pipe.unet.register_module("more", weights)
    after = plan(pipe, device="cpu", plans=[frozenset()], height=32, width=32).device.process
    assert before - after > 100 << 20


def test_the_cpu_keeps_none() -> None:
    profile = DeviceProfile("a CPU", 8 << 30, 1e10, 1e11, 1e11, None, 1e-5, False, "made up")
    table = plan("tiny-sd", "9GiB", steps=2, device=profile, plans=[frozenset()])
    assert table.budget == 9 << 30
    assert "context" not in table._repr_html_()


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("tiny-sd", "tiny-sd in float16, 1 picture of 32 × 32, 50 steps, guidance 7.5, on"),
        ("tiny-sdxl", "tiny-sdxl in float16, 1 picture of 32 × 32, 50 steps, guidance 5, on"),
        ("flux-schnell", "flux-schnell in float16 and float32, 1 picture of 32 × 32, 4 steps, on"),
        (
            "flux-dev",
            "flux-dev in float16 and float32, 1 picture of 32 × 32, 28 steps, guidance 3.5, on",
        ),
    ],
)
def test_families_have_their_own_steps_and_guidance(model: str, said: str) -> None:
    table = plan(model, height=32, width=32, device=CARD, plans=[frozenset()])
    assert said in table._repr_html_()
    assert PlanTable.from_json(table.to_json()) == table


def test_a_plan_is_named_with_sizes_as_people_write_them() -> None:
    names = {
        short_plan_name(frozenset({SequentialOffload(budget=budget)}))
        for budget in ("2862MiB", "2.4GiB", "512MiB", 100)
    }
    assert names == {
        "streaming (2.4 GiB)",
        "streaming (2.8 GiB)",
        "streaming (512 MiB)",
        "streaming (100 B)",
    }


def test_no_two_settings_of_a_strategy_have_one_name() -> None:
    pairs: list[list[Strategy]] = [
        [StepCache(interval=3), StepCache(levels=3), StepCache(), StepCache(3, 3)],
        [QKVFusion(unet=False), QKVFusion(vae=False), QKVFusion()],
        [GuidanceInterval(0.5, 0.7), GuidanceInterval(0.3, 0.5), GuidanceInterval(0.5, 0.5001)],
        [Precision("float16"), Precision(components=("unet",)), Precision("float16", ("unet",))],
    ]
    names = [[short_plan_name(frozenset({one})) for one in settings] for settings in pairs]
    assert all(len({*several}) == len(several) for several in names)
    assert names[0] == [f"step cache{end}" for end in (" (3)", " (levels=3)", "", " (3, levels=3)")]
    assert names[1] == ["fused QKV (no unet)", "fused QKV (no vae)", "fused QKV"]
    assert names[3] == ["precision (float16)", "precision (unet)", "precision (float16, unet)"]
