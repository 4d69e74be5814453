"""The command line: `draw`, `demo`, `plan`, `sweep`, `lab`, each a few lines over the library."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import dpnb
from dpnb.atomic import check_folder, write_bytes
from dpnb.processes import init_processes
from dpnb.prompt_file import Drawing, draw_prompts, read_prompts
from dpnb.terminal import err, errors_as_sentences, out, watch
from dpnb.units import format_bytes, format_seconds, parse_size

if TYPE_CHECKING:
    from PIL.Image import Image

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

DEMO_STEPS = 20
DEMO_BATCH = 8

BUDGET = "8GiB: of a card, with its context; of the CPU, for tensors."

Model = Annotated[str, typer.Option(help="A folder, a hub repository, or dpnb/emoji-64.")]
Seed = Annotated[int, typer.Option(help="Of the noise: the same seed draws the same picture.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show where an error came from.")]
MaxDifference = Annotated[
    str | None, typer.Option(help='What plans may do to the picture: "not visible side by side".')
]
DeviceName = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda, cuda:1 …; the best one by default.")
]


def main() -> None:
    """Run the command line."""
    app()


def show_version(is_asked: bool) -> None:
    """Say which version this is, and leave."""
    if is_asked:
        out.print(f"dpnb {dpnb.__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def start(
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Draw from words with diffusion models."""


@app.command()
def draw(
    prompt: Annotated[str | None, typer.Argument(help="What to draw.")] = None,
    model: Model = "dpnb/emoji-64",
    seed: Seed = 0,
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 20,
    guidance: Annotated[float, typer.Option(help="How strongly the prompt steers.")] = 5.0,
    negative: Annotated[str | None, typer.Option(help="What not to draw.")] = None,
    height: Annotated[int | None, typer.Option(help="In pixels; the model's by default.")] = None,
    width: Annotated[int | None, typer.Option(help="In pixels; the model's by default.")] = None,
    count: Annotated[int, typer.Option(help="How many pictures.")] = 1,
    dtype: Annotated[str, typer.Option(help="float32, float16, bfloat16 or auto.")] = "float32",
    device: DeviceName = None,
    prompts: Annotated[
        Path | None, typer.Option(help="A file of prompts instead, each line a JSON object.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--out", help="The picture's file; with --prompts, a folder.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Draw a picture from words, or one for each line of a file of prompts."""
    with errors_as_sentences(debug):
        drawing = Drawing(prompt or "", negative, seed, steps, guidance, width, height)
        if prompts is not None and (prompt is not None or count != 1):
            raise ValueError(
                "--prompts takes the place of a prompt and of --count; write a line for each "
                "picture into the file."
            )
        if prompts is not None:
            draw_file(prompts, drawing, model, device, dtype, file or Path("pictures"))
        elif prompt is None:
            raise ValueError("There is nothing to draw; give a prompt, or a file with --prompts.")
        else:
            draw_one(drawing, count, model, device, dtype, file or Path("picture.png"))


def draw_one(
    drawing: Drawing, count: int, model: str, device: str | None, dtype: str, file: Path
) -> None:
    """Draw one prompt, so many times."""
    check_picture_file(file)
    pipe = open_pipeline(model, device, dtype)
    started = time.perf_counter()
    steps = pipe.stream(**drawing.arguments(), num_images_per_prompt=count)
    images = watch(steps, drawing.prompt)
    files = number_files(file, len(images))
    for image, target in zip(images, files, strict=True):
        save_picture(image, target)
    took = format_seconds(time.perf_counter() - started)
    size = f"{images[0].width} x {images[0].height}"
    names = ", ".join(str(name) for name in files)
    out.print(f"Drew {names} ({size} pixels) in {took} on {pipe.device}.", soft_wrap=True)


def draw_file(
    file: Path, usual: Drawing, model: str, device: str | None, dtype: str, folder: Path
) -> None:
    """Draw what a file asks for and is not there yet; launched several times, each its share."""
    drawings = read_prompts(file, usual)
    check_folder(folder)
    processes = init_processes(device)
    pipe = open_pipeline(model, device or processes.device, dtype)
    started = time.perf_counter()
    drawn = draw_prompts(pipe, drawings, folder, model, watch, processes, file)
    if processes.is_main:
        took = format_seconds(time.perf_counter() - started)
        several = f" by {processes.count} processes" if processes.count > 1 else ""
        kept = f"; {drawn.kept} were there already" if drawn.kept else ""
        pictures = f"{len(drawn.names)} picture{'s' * (len(drawn.names) != 1)}"
        sentence = f"Drew {pictures} into {folder}/ in {took}{several}{kept}."
        out.print(sentence, soft_wrap=True, highlight=False)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--out", help="Where pictures go.")] = Path("dpnb-demo"),
    seed: Seed = 0,
    device: DeviceName = None,
    debug: Debug = False,
) -> None:
    """Draw two dozen prompts with the model inside the package, and measure its switches."""
    with errors_as_sentences(debug):
        from dpnb.emoji import PROMPTS
        from dpnb.pipelines.pictures.contact_sheet import contact_sheet

        check_folder(folder)
        started = time.perf_counter()
        pipe = open_pipeline("dpnb/emoji-64", device, "float32")
        loaded = time.perf_counter()
        out.print(f"Loaded dpnb/emoji-64 in {format_seconds(loaded - started)}.")
        out.print(pipe, highlight=False)
        images = draw_all(pipe, PROMPTS, seed)
        took = time.perf_counter() - loaded
        folder.mkdir(parents=True, exist_ok=True)
        for index, (prompt, image) in enumerate(zip(PROMPTS, images, strict=True), start=1):
            save_picture(image, folder / f"{index:02d}-{prompt.replace(' ', '-')}.png")
        save_picture(contact_sheet(images, PROMPTS), folder / "sheet.png")
        out.print(
            f"Drew {len(images)} pictures of {DEMO_STEPS} steps in {format_seconds(took)}, "
            f"{format_seconds(took / len(images))} each, on {pipe.device}.",
            highlight=False,
        )
        size = format_bytes(sum(f.stat().st_size for f in folder.iterdir()))
        out.print(f"They are in {folder}/ ({size}); sheet.png shows them all.", highlight=False)
        sweep_demo(pipe, folder / "report")


def sweep_demo(pipe: Any, folder: Path) -> None:
    """Measure what some switches cost, and write a table and figures of it."""
    from dpnb.bench.demo import LINK, demo_sweep

    where = f", offloading over a link that is simulated ({LINK})"
    out.print(
        f"Now some switches are measured{where if pipe.device.type == 'cpu' else ''}.",
        highlight=False,
        soft_wrap=True,
    )
    report = demo_sweep(pipe, DEMO_STEPS // 2)
    out.print(report)
    report.write(folder)
    name = f"{folder}/memory-against-time.png"
    out.print(f"{name} shows them, beside other figures.", highlight=False, soft_wrap=True)


@app.command()
def lab(
    model: Model = "dpnb/emoji-64",
    voila: Annotated[
        bool, typer.Option("--voila", help="Only the dashboard, as a page without code.")
    ] = False,
    port: Annotated[int, typer.Option(help="On this machine.", min=1, max=65535)] = 8888,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
    theme: Annotated[str, typer.Option(help="Of the page: light or dark.")] = "light",
    folder: Annotated[
        Path | None,
        typer.Option("--out", help="Where notebooks are copied; dpnb-notebooks by default."),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Argument(help="Of JupyterLab or Voila, after --, as in: dpnb lab -- --debug."),
    ] = None,
    allow_root: Annotated[
        bool, typer.Option("--allow-root", help="Start as root also with options after --.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Open copies of the notebooks in JupyterLab, or the dashboard as a page."""
    with errors_as_sentences(debug):
        from dpnb.lab import open_lab, open_page

        if theme not in ("light", "dark"):
            raise ValueError(f"theme is {theme!r}; use light or dark.")
        if voila:
            sys.exit(open_page(model, port, browser, theme, options or ()))
        sys.exit(open_lab(folder, model, port, browser, options or (), allow_root))


@app.command("plan")
def plan_command(
    model: Annotated[str, typer.Argument(help="sd15, sdxl, flux-dev, a folder or a repository.")],
    budget: Annotated[str | None, typer.Option(help=BUDGET)] = None,
    size: Annotated[str | None, typer.Option(help="1024, or width x height: 768x512.")] = None,
    batch: Annotated[int, typer.Option(help="Pictures at once.")] = 1,
    steps: Annotated[int | None, typer.Option(help="Denoising steps; the model's own.")] = None,
    frames: Annotated[int | None, typer.Option(help="Of a video; the model's own.")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, float16, bfloat16 or auto.")] = None,
    device: Annotated[
        str | None, typer.Option(help='"RTX 3060", cuda, cpu, simulated:8GiB/s …; the one here.')
    ] = None,
    approximate: Annotated[bool, typer.Option(help="Plans may change the picture.")] = False,
    max_difference: MaxDifference = None,
    measured: Annotated[
        Path | None, typer.Option(help="sweep.json of a sweep of the same model with --quality.")
    ] = None,
    shows_all: Annotated[
        bool, typer.Option("--all", help="Show also plans that others beat in memory and time.")
    ] = False,
    file: Annotated[Path | None, typer.Option("--out", help="A JSON file for all plans.")] = None,
    debug: Debug = False,
) -> None:
    """Predict which plans fit, and what each costs, without loading a weight."""
    with errors_as_sentences(debug):
        from dpnb.planning.planner import plan
        from dpnb.planning.table import PlanListing

        if file is not None:
            check_folder(file.parent)
        width, height = parse_size(size)
        with err.status(f"Planning {model} …"):
            table = plan(
                model,
                budget,
                height=height,
                width=width,
                batch=batch,
                steps=steps,
                frames=frames,
                dtype=dtype,
                device=device,
                approximate=approximate,
                max_difference=max_difference,
                measured=None if measured is None else dpnb.Report.load(measured),
            )
        out.print(PlanListing(table, shows_all, "--all"))
        if file is not None:
            table.save(file)
        out.print(table.to_python(), highlight=False, markup=False)


@app.command("sweep")
def sweep_command(
    model: Annotated[str, typer.Argument(help="A folder, a repository, or dpnb/emoji-64.")],
    folder: Annotated[Path, typer.Option("--out", help="Where the report goes.")] = Path("report"),
    budget: Annotated[str | None, typer.Option(help=BUDGET)] = None,
    size: Annotated[str | None, typer.Option(help="1024, or width x height: 768x512.")] = None,
    batch: Annotated[int, typer.Option(help="Pictures at once.")] = 1,
    steps: Annotated[int | None, typer.Option(help="Denoising steps; the model's own.")] = None,
    repeats: Annotated[int, typer.Option(help="Timed runs of each plan.")] = 3,
    dtype: Annotated[str, typer.Option(help="float32, float16, bfloat16 or auto.")] = "float32",
    device: DeviceName = None,
    link: Annotated[
        str | None, typer.Option(help="Offload over a simulated link: simulated:8GiB/s.")
    ] = None,
    approximate: Annotated[bool, typer.Option(help="Plans may change the picture.")] = False,
    max_difference: MaxDifference = None,
    quality: Annotated[
        bool, typer.Option("--quality", help="Compare the pictures of several prompts and seeds.")
    ] = False,
    prompts: Annotated[
        list[str] | None, typer.Option("--prompt", help="For --quality; may be given again.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="For --quality: how many of each prompt; 2.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Measure every plan beside its prediction; a sweep that was broken off goes on."""
    with errors_as_sentences(debug):
        from dpnb.bench.sweep import choose_pictures, sweep
        from dpnb.planning.workload import Workload

        told = {"--prompt": prompts, "--seeds": seeds, "--max-difference": max_difference}
        named = [name for name, value in told.items() if value is not None]
        if named and not quality:
            raise ValueError(f"{' and '.join(named)} is about comparing pictures; add --quality.")
        check_folder(folder)
        width, height = parse_size(size)
        processes = init_processes(device)
        pipe = open_pipeline(model, device or processes.device, dtype)
        report = sweep(
            pipe,
            workload=Workload(height=height, width=width, batch=batch, steps=steps),
            budget=budget,
            device=link,
            approximate=approximate,
            max_difference=max_difference,
            repeats=repeats,
            path=folder / "sweep.json",
            processes=processes,
            quality=quality and choose_pictures(prompts, 2 if seeds is None else seeds),
        )
        if processes.is_main:
            out.print(report)
            names = ", ".join(file.name for file in report.write(folder))
            out.print(f"Wrote {names} into {folder}/.", highlight=False, soft_wrap=True)
            if link is None and pipe.device.type == "cpu":
                hint = "Nothing is offloaded here; --link simulated:8GiB/s shows what that does."
                out.print(hint, highlight=False, soft_wrap=True)


def open_pipeline(model: str, device: str | None, dtype: str) -> Any:
    """The pipeline `model` on `device`, without a progress bar of its own."""
    from dpnb.devices import available_device, best_device
    from dpnb.pipelines.pipeline import DiffusionPipeline

    target = best_device() if device is None else available_device(device)
    with err.status(f"Loading {model} …"):
        pipe = DiffusionPipeline.from_pretrained(model, dtype=dtype, device_map=str(target))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def draw_all(pipe: Any, prompts: tuple[str, ...], seed: int) -> list[Image]:
    """A picture for each prompt, in batches, each from the same seed."""
    from dpnb.generators import make_generator

    images: list[Image] = []
    for first in range(0, len(prompts), DEMO_BATCH):
        batch = list(prompts[first : first + DEMO_BATCH])
        steps = pipe.stream(
            batch,
            num_inference_steps=DEMO_STEPS,
            guidance_scale=5.0,
            generator=[make_generator(seed) for _ in batch],
        )
        images += watch(steps, f"pictures {first + 1} to {first + len(batch)}")
    return images


def check_picture_file(file: Path) -> None:
    """Refuse a file that could not be written, before anything is drawn."""
    from PIL import Image

    kind = Image.registered_extensions().get(file.suffix.lower())
    example = f"use for example {file.with_suffix('.png')}."
    if kind is None:
        raise ValueError(f"{file} has no ending that names a kind of picture; {example}")
    try:
        Image.new("RGB", (1, 1)).save(io.BytesIO(), format=kind)
    except Exception as error:  # each format has its own way of saying that it is only read
        raise ValueError(f"Pictures cannot be written as {file.suffix}; {example}") from error
    check_folder(file.parent)


def number_files(file: Path, count: int) -> list[Path]:
    """`file` itself, or as many names made of it."""
    if count == 1:
        return [file]
    return [file.with_stem(f"{file.stem}-{number}") for number in range(1, count + 1)]


def save_picture(image: Image, file: Path) -> None:
    """Write `image` in the format that the file's ending names, making its folder."""
    from PIL import Image

    content = io.BytesIO()
    image.save(content, format=Image.registered_extensions()[file.suffix.lower()])
    write_bytes(file, content.getvalue())
