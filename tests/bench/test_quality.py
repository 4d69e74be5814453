"""What plans do to the picture, measured in a sweep."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import dpnb
from dpnb.bench.letters import LETTERS
from dpnb.bench.quality_figures import draw_plan_sheet
from dpnb.bench.quality_rows import find_picture_front, measurements_to_csv
from dpnb.bench.report import Report
from dpnb.bench.sweep import choose_pictures, sweep
from dpnb.fidelity.quality import PictureSet, Quality
from dpnb.fidelity.visibility import Visibility
from dpnb.planning.workload import Workload

pytest.importorskip("flip_evaluator")
pytest.importorskip("skimage")

WORKLOAD = Workload(height=32, width=32, steps=2)
PLANS: list[Any] = [dpnb.VaeTiling(), dpnb.FreeU()]
PICTURES = PictureSet(("red apple", "cat"), (3, 4))


@pytest.fixture(scope="module")
def pipe() -> Any:
    made: Any = dpnb.random_pipeline("tiny-sd")
    made.set_progress_bar_config(disable=True)
    return made


def run(pipe: Any, plans: Any = PLANS, **arguments: Any) -> Report:
    settings: dict[str, Any] = {"repeats": 1, "progress": False, "budget": "1GiB"}
    settings["device"] = "simulated:8GiB/s"
    return sweep(pipe, plans, WORKLOAD, **settings | arguments)


@pytest.fixture(scope="module")
def kept(pipe: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    file = tmp_path_factory.mktemp("sweep") / "sweep.json"
    return run(pipe, path=file, quality=PICTURES), file


@pytest.fixture
def report(kept: tuple[Report, Path]) -> Report:
    return kept[0]


def test_each_prompt_is_compared_from_each_seed(report: Report) -> None:
    for one in report:
        assert one.quality is not None
        named = [(score.prompt, score.seed) for score in one.quality.scores]
        assert named == [("red apple", 3), ("red apple", 4), ("cat", 3), ("cat", 4)]
        assert [score.picture is not None for score in one.quality.scores] == [True, False] * 2
    plain, tiled, other = (one.quality for one in report)
    assert plain is not None
    assert tiled is not None
    assert other is not None
    assert plain.size == 0
    assert plain.psnr is None
    assert tiled.words is Visibility.SAME
    assert other.size > 10 * tiled.size
    assert other.psnr is not None
    assert other.flip == pytest.approx(sum(score.flip for score in other.scores) / 4)
    assert other.flip_worst == max(score.flip_worst for score in other.scores)
    assert other.size == max(score.size for score in other.scores)


def test_what_is_scored_is_what_calls_draw(pipe: Any, report: Report) -> None:
    from dpnb.generators import make_generator

    def draw(*plan: Any) -> Any:
        with pipe.strategies.using(*plan):
            return pipe(
                "cat", num_inference_steps=2, height=32, width=32, output_type="np",
                generator=make_generator(4),
            ).images  # fmt: skip

    found = dpnb.compare(draw(), draw(dpnb.FreeU()))
    quality = report.of(dpnb.FreeU()).quality
    assert quality is not None
    assert found.flip is not None
    assert quality.scores[3].flip == pytest.approx(found.flip.mean, abs=1e-4)


def test_a_report_with_pictures_survives_its_file(kept: tuple[Report, Path]) -> None:
    report, file = kept
    assert Report.load(file) == report


def test_a_killed_sweep_goes_on_with_the_same_pictures(
    pipe: Any, kept: tuple[Report, Path], tmp_path: Path
) -> None:
    report, file = kept
    cut = json.loads(file.read_text())
    del cut["measurements"][2]
    cut["measurements"][1]["quality"] = None
    other = tmp_path / "sweep.json"
    other.write_text(json.dumps(cut))
    resumed = run(pipe, path=other, quality=PICTURES)
    assert [one.plan for one in resumed] == [one.plan for one in report]
    assert resumed.measurements[0] == report.measurements[0]
    assert [one.quality for one in resumed] == [one.quality for one in report]
    with pytest.raises(ValueError, match="compares 2 prompts from 2 seeds each, and not these"):
        run(pipe, path=other, quality=replace(PICTURES, seeds=(5,)))
    assert run(pipe, path=other) == resumed


def test_where_nothing_draws_without_strategies_an_exact_plan_is_the_measure(pipe: Any) -> None:
    def exhaust(network: Any, _: Any) -> None:
        if network is pipe.unet and not pipe.strategies.active:
            raise MemoryError

    handle = pipe.unet.register_forward_pre_hook(exhaust)
    try:
        plain, other, tiled = run(pipe, [dpnb.FreeU(), dpnb.VaeTiling()], quality=PICTURES)
    finally:
        handle.remove()
    assert plain.quality is None
    assert not plain.is_finished
    assert tiled.quality is not None
    assert tiled.quality.size == 0
    assert other.quality is not None
    assert other.quality.size > 0


def test_nothing_on_the_front_is_beaten_on_all_three_axes(report: Report) -> None:
    [plain, *_] = report.measurements
    worse = replace(
        report.of(dpnb.FreeU()),
        peaks={name: 2 * peak for name, peak in plain.peaks.items()},
        seconds=2 * (plain.seconds or 0),
    )
    cheaper = replace(worse, peaks={name: peak // 2 for name, peak in plain.peaks.items()})
    assert find_picture_front((worse, plain)) == (plain,)
    assert find_picture_front((cheaper, plain)) == (plain, cheaper)
    twin = replace(plain, plan=frozenset({dpnb.VaeSlicing()}))
    assert find_picture_front((twin, plain)) == (plain,)
    assert find_picture_front((replace(plain, quality=None),)) == ()
    assert report.picture_front == find_picture_front(report.finished)


def test_a_report_shows_tables_figures_and_pictures(report: Report, tmp_path: Path) -> None:
    console = Console(width=160, file=io.StringIO())
    console.print(report)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert "Picture" in printed
    assert "the same" in printed
    assert "FLIP" in printed
    assert report._repr_html_().count("<img") == 1
    written = {file.name for file in report.write(tmp_path)}
    assert {"pictures.png", "picture.svg", "picture.png", "sweep.csv"} <= written
    lines = list(csv.DictReader(io.StringIO(report.to_csv())))
    assert measurements_to_csv(report.measurements, report.table) == report.to_csv()
    assert [line["picture"] for line in lines][:2] == ["the same", "the same"]
    found = report.of(dpnb.FreeU()).quality
    assert found is not None
    assert float(lines[2]["flip"]) == pytest.approx(found.flip)
    assert float(lines[2]["ssim_worst_tile"]) == found.ssim_worst < found.ssim
    assert float(lines[2]["psnr_worst_tile_db"]) == found.psnr_worst
    assert lines[0]["psnr_db"] == lines[0]["psnr_worst_tile_db"] == "inf"
    assert float(lines[2]["flip_size"]) == found.size
    assert {(line["model"], line["dtype"], line["batch"]) for line in lines} == {
        (report.model, "float32", "1")
    }
    tiled = report.of(dpnb.VaeTiling())
    assert int(lines[1]["peak_decoding_bytes"]) == tiled.peaks["decoding"]
    assert tiled.predicted is not None
    assert int(lines[1]["predicted_peak_bytes"]) == tiled.predicted.peak
    assert float(lines[1]["largest_difference"]) == tiled.difference
    assert dpnb.plan_from_json(json.loads(lines[2]["strategies"])) == {dpnb.FreeU()}
    sheet = report.sheet()
    assert sheet.height > 3 * 160
    assert sheet.width > 2 * 160
    alone = draw_plan_sheet(report.measurements[:1], PictureSet(("red apple",), (3,)))
    assert alone.height < sheet.height / 2


def test_a_cell_shows_the_pictures_of_few_plans(report: Report) -> None:
    html = report._repr_html_()
    found = re.search(r"data:image/jpeg;base64,([^\"]+)", html)
    assert found is not None
    plain = report.measurements[0]
    alike = [replace(plain, plan=frozenset({dpnb.FreeU(b1=1 + n / 100)})) for n in range(40)]
    many = replace(report, measurements=(plain, *alike))
    assert len(many._repr_html_()) < 2 * len(html)


def test_a_figure_has_letters_for_plans_beyond_the_alphabet() -> None:
    assert LETTERS[:2] == ("a", "b")
    assert LETTERS[25:28] == ("z", "aa", "ab")


def test_a_score_says_what_the_worst_picture_is(report: Report) -> None:
    quality = report.of(dpnb.FreeU()).quality
    assert quality is not None
    one = replace(quality.scores[0], flip=0.01, flip_worst=0.01)
    other = replace(one, flip=0.2, flip_worst=0.3)
    assert Quality((one,)).describe() == "0.010 the same"
    assert Quality((one, one, one, other)).describe() == "0.058, at most 0.200: another picture"


def test_nothing_of_the_figure_of_pictures_lies_outside_of_it(report: Report) -> None:
    figure: Any = report.figures()["picture"]
    figure.draw_without_rendering()
    box, drawn = figure.bbox_inches, figure.get_tightbbox()
    assert drawn.x0 >= box.x0
    assert drawn.x1 <= box.x1
    assert drawn.y0 >= box.y0


def test_a_sweep_predicts_other_plans_pictures(report: Report) -> None:
    table = replace(report.table, model=report.model).limited(0.07, report)
    found = report.of(dpnb.FreeU()).quality
    assert found is not None
    assert table.of(dpnb.FreeU()).difference == found.size
    dimmed = replace(report, table=report.table.limited(0.0, None))._repr_html_()
    assert dimmed.count("opacity") == sum(
        1 for one in report if one.quality is not None and one.quality.size > 0
    )
    assert "opacity" not in report._repr_html_()
    unknown = tuple(replace(one, quality=None) for one in report.measurements)
    limited = replace(report, measurements=unknown, table=report.table.limited(0.07, None))
    assert [dimmed for _, dimmed in limited._rows()] == [False, False, True]
    small = replace(report, table=report.table.within(1))
    assert small._repr_html_().count("opacity") == len(report)


def test_without_quality_a_report_has_no_pictures(pipe: Any) -> None:
    report = run(pipe, [])
    assert report.picture_front == ()
    assert "picture" not in report.figures()
    assert report.headings[-1] == "Difference"
    with pytest.raises(ValueError, match="sweep with quality=True"):
        report.sheet()


@pytest.mark.parametrize("quality", [None, 0, "yes"])
def test_quality_is_asked_for_or_not(pipe: Any, quality: Any) -> None:
    if quality is None:
        assert run(pipe, [], quality=quality).measurements[0].quality is None
        return
    with pytest.raises(TypeError, match="give True, False, or a PictureSet"):
        run(pipe, [], quality=quality)


def test_one_prompt_by_itself_is_one() -> None:
    assert choose_pictures("cat", 1) == PictureSet(("cat",), (0,))


def test_mistakes_are_one_sentence() -> None:
    with pytest.raises(TypeError, match="give a list of texts"):
        PictureSet("red apple", (0,))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="prompts is 5; give a list of texts"):
        PictureSet(5, (0,))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one prompt and one seed"):
        PictureSet(("red apple",), ())


def test_what_draws_without_words_has_one_prompt() -> None:
    pipe = _unconditional()
    pipe.set_progress_bar_config(disable=True)
    report = sweep(pipe, [], Workload(steps=1), repeats=1, progress=False, quality=True)
    found = report.measurements[0].quality
    assert found is not None
    assert [(one.prompt, one.seed) for one in found.scores] == [("", 0), ("", 1)]


def _unconditional() -> Any:
    network = dpnb.UNet2DModel(
        sample_size=16, in_channels=3, out_channels=3, block_out_channels=(32,),
        down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",), layers_per_block=1,
    )  # fmt: skip
    return dpnb.DDIMPipeline(network, dpnb.DDIMScheduler())
