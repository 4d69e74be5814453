"""Train the small text-to-image model: `python -m dpnb.emoji.train --out folder`.

First the autoencoder, then the text encoder and the denoising network together. Both resume from
their checkpoints in the folder `--work`.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from dpnb.devices import best_device
from dpnb.emoji.autoencoder import (
    Reconstruction,
    build_autoencoder,
    signal_to_noise,
    standardise_latents,
)
from dpnb.emoji.concepts import load_concepts
from dpnb.emoji.denoiser import Denoising, WordsToPictures
from dpnb.emoji.export import write_pipeline
from dpnb.emoji.layout import ALL_VARIETY
from dpnb.emoji.samples import Curriculum, Habits, Samples, load_batches
from dpnb.emoji.scenes import Shares
from dpnb.emoji.tokenizer import build_tokenizer, save_tokenizer
from dpnb.emoji.trainer import StepReport, Trainer, TrainingPlan, steps_taken
from dpnb.emoji.workers import Workers, launch
from dpnb.models.autoencoder import AutoencoderKL
from dpnb.silence import silence_imports

with silence_imports():
    from transformers import CLIPTokenizer

VAE_FILE, DENOISER_FILE, TOKENIZER_FOLDER = "vae.pt", "denoiser.pt", "tokenizer"
CAPTIONS_TO_LEARN = 40_000
PICTURES_TO_MEASURE = 512
MORE_PAINT = Shares(colour=0.35, background=0.45)
"""Of the first stage's scenes, which must show it all paints."""

CURRICULUM = Curriculum(first_concepts=150, all_concepts=130_000, plain=50_000, all_habits=350_000)
"""Of the second stage. Without it, 200,000 samples taught colours and places but no shape."""


@dataclass(frozen=True)
class Options:
    """The command line.

    Attributes:
        out: the pipeline's folder.
        work: folder of checkpoints.
        minutes_vae: length of the first stage.
        minutes_unet: length of the second.
        device: where to train.
        processes: training processes; more than one only on the CPU.
        loaders: processes that draw samples for each training process; 0 draws in line.
        pictures: autoencoder batch, in each process.
        captions: denoiser batch, in each process.
        draws: noise levels for each caption of it.
        variety: from 0 to 1, how far pictures of one caption differ. Seeds then change the picture
            more, but more samples are needed.
        seed: decides samples, first weights and noise.
    """

    out: Path
    work: Path
    minutes_vae: float
    minutes_unet: float
    device: str
    processes: int
    loaders: int
    pictures: int
    captions: int
    draws: int
    variety: float
    seed: int


def main() -> None:
    """Parse the command line and train."""
    options = parse_options()
    options.work.mkdir(parents=True, exist_ok=True)
    launch(train_autoencoder, options.processes, options)
    if options.minutes_unet > 0:
        prepare_tokenizer(options)
        launch(train_denoiser, options.processes, options)
        export(options)


def parse_options(arguments: list[str] | None = None) -> Options:
    """Options from a command line; the batches' defaults depend on the device."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m dpnb.emoji.train")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("emoji-checkpoints"))
    parser.add_argument("--minutes-vae", type=float, default=15.0)
    parser.add_argument("--minutes-unet", type=float, default=70.0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--loaders", type=int)
    parser.add_argument("--pictures", type=int)
    parser.add_argument("--captions", type=int)
    parser.add_argument("--draws", type=int)
    parser.add_argument("--variety", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    given = vars(parser.parse_args(arguments))
    if given["device"] == "auto":
        given["device"] = best_device().type
    on_cpu = given["device"] == "cpu"
    if given["processes"] > 1 and not on_cpu:
        parser.error("several processes share a CPU only; leave --processes at 1 on a GPU")
    defaults = {
        "loaders": 0 if on_cpu else 8,
        "pictures": 8 if on_cpu else 256,
        "captions": 16 if on_cpu else 256,
        "draws": 3 if on_cpu else 8,
    }
    for name, value in defaults.items():
        given[name] = value if given[name] is None else given[name]
    return Options(**given)


def train_autoencoder(workers: Workers, options: Options) -> None:
    """The first stage; leaves `vae.pt`."""
    device = torch.device(options.device)
    torch.manual_seed(options.seed)
    vae = build_autoencoder().to(device)
    checkpoint = options.work / VAE_FILE
    steps = steps_taken(checkpoint)
    torch.manual_seed(options.seed + 1 + workers.rank + workers.count * steps)
    samples = draw_samples(options, workers, MORE_PAINT, steps * options.pictures)
    pictures = (batch for batch, _ in load_batches(samples, options.pictures, options.loaders))
    task = Reconstruction(vae, pictures, options.pictures, device)
    plan = TrainingPlan(options.minutes_vae, muon_lr=0.015, adam_lr=2e-3, averaging=0.995)
    trainer = Trainer(task, plan, workers, checkpoint)
    for report in trainer.run():
        if report.step % 50 == 0 or report.is_saved:
            print_progress(workers, "vae", report, f"{signal_to_noise(report.metric):.2f} dB")


def train_denoiser(workers: Workers, options: Options) -> None:
    """The second stage; leaves `denoiser.pt`."""
    device = torch.device(options.device)
    tokenizer = read_tokenizer(options)
    vae = load_autoencoder(options).to(device)
    torch.manual_seed(options.seed)
    module = WordsToPictures(tokenizer).to(device)
    if device.type == "cpu":
        module.use_plain_attention()
    checkpoint = options.work / DENOISER_FILE
    steps = steps_taken(checkpoint)
    torch.manual_seed(options.seed + 1 + workers.rank + workers.count * steps)
    skipped = steps * options.captions
    samples = draw_samples(options, workers, Shares(), skipped, CURRICULUM)
    batches = load_batches(samples, options.captions, options.loaders)
    task = Denoising(module, vae, tokenizer, batches, options.captions, options.draws, device)
    plan = TrainingPlan(
        options.minutes_unet, muon_lr=0.012, adam_lr=1.5e-3, averaging=0.998, warm_up=0.005
    )
    trainer = Trainer(task, plan, workers, checkpoint)
    metric = 1.0
    for report in trainer.run():
        metric += 0.02 * (report.metric - metric)
        if report.step % 50 == 0 or report.is_saved:
            print_progress(workers, "denoiser", report, f"error {metric:.4f}")


def draw_samples(
    options: Options,
    workers: Workers,
    shares: Shares,
    skipped: int = 0,
    curriculum: Curriculum | None = None,
) -> Samples:
    """Samples for one of `workers`, each of which has had `skipped` of them before."""
    habits = Habits(shares, variety=ALL_VARIETY.times(options.variety))
    start = workers.rank + workers.count * skipped
    return Samples(load_concepts(), habits, options.seed, start, workers.count, curriculum)


def export(options: Options) -> None:
    """Write the averaged weights of both checkpoints as a pipeline's folder."""
    tokenizer = read_tokenizer(options)
    module = WordsToPictures(tokenizer).eval()
    module.load_state_dict(read_averaged(options.work / DENOISER_FILE))
    vae = load_autoencoder(options)
    write_pipeline(options.out, vae, module.unet, module.text_encoder, tokenizer)


def prepare_tokenizer(options: Options) -> None:
    """Learn the vocabulary from captions as drawn, unless the checkpoints have theirs."""
    folder = options.work / TOKENIZER_FOLDER
    if not folder.exists():
        samples = draw_samples(options, Workers(), Shares())
        captions = samples.draw_captions(CAPTIONS_TO_LEARN)
        save_tokenizer(build_tokenizer(captions), folder)


def read_tokenizer(options: Options) -> CLIPTokenizer:
    """The vocabulary that belongs to the checkpoints."""
    tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(options.work / TOKENIZER_FOLDER)
    return tokenizer


def load_autoencoder(options: Options) -> AutoencoderKL:
    """The first stage's averaged autoencoder, its latents standardised."""
    vae = build_autoencoder().eval().requires_grad_(False)
    vae.load_state_dict(read_averaged(options.work / VAE_FILE))
    samples = draw_samples(options, Workers(), Shares())
    pictures, _ = next(load_batches(samples, PICTURES_TO_MEASURE))
    standardise_latents(vae, pictures)
    return vae


def read_averaged(checkpoint: Path) -> dict[str, torch.Tensor]:
    """The averaged weights in a checkpoint."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    averaged: dict[str, torch.Tensor] = state["averaged"]
    return averaged


def print_progress(workers: Workers, stage: str, report: StepReport, metric: str) -> None:
    """Print one line about a step; only the first worker does."""
    if workers.rank == 0:
        clock = time.strftime("%H:%M:%S")
        print(
            f"{clock} {stage} step {report.step} at {report.elapsed:.0f} s, "
            f"{report.samples} samples, {report.rate:.1f} a second: {metric}",
            flush=True,
        )


if __name__ == "__main__":
    main()
