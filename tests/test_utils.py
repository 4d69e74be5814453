"""Names by the paths that scripts import them from."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image

import dpnb
from dpnb import callbacks, image_processor, models, pipelines, utils
from dpnb.pipelines import cutoffs
from dpnb.pipelines.foreign.image_processor import VaeImageProcessor
from dpnb.pipelines.foreign.standins import randn_tensor
from dpnb.utils.logging import ROOT, set_verbosity_debug, set_verbosity_error


@pytest.fixture
def level() -> Iterator[None]:
    before = ROOT.level
    yield
    ROOT.setLevel(before)


def test_the_names_are_ours() -> None:
    assert image_processor.VaeImageProcessor is VaeImageProcessor is dpnb.VaeImageProcessor
    assert callbacks.PipelineCallback is cutoffs.PipelineCallback is dpnb.PipelineCallback
    assert models.AutoencoderKL is dpnb.AutoencoderKL
    assert pipelines.FluxPipeline is dpnb.FluxPipeline
    for module in (models, pipelines):
        with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
            getattr(module, "Nothing")  # noqa: B009 - type checkers know that it is not there
    assert all(vars(utils)[name] is not None for name in utils.__all__)


def test_loggers_of_files_elsewhere_hear_what_is_said_here() -> None:
    for name in ("diffusers", "diffusers.loaders.peft", None):
        assert utils.logging.get_logger(name) is ROOT
    assert utils.logging.get_logger("diffusers_of_mine").name == "diffusers_of_mine"


@pytest.mark.usefixtures("level")
def test_as_much_is_said_as_was_asked_for() -> None:
    set_verbosity_error()
    assert utils.logging.get_verbosity() == logging.ERROR
    assert not logging.getLogger("dpnb.pipelines").isEnabledFor(logging.WARNING)
    set_verbosity_debug()
    assert logging.getLogger("dpnb.pipelines").isEnabledFor(logging.DEBUG)


def test_pictures_of_tensors() -> None:
    (white,) = utils.pt_to_pil(torch.ones(1, 3, 2, 2))
    assert isinstance(white, Image.Image)
    assert np.asarray(white).min() == 255
    assert randn_tensor((2, 2), generator=torch.manual_seed(0)).shape == (2, 2)


def test_no_videos_are_written() -> None:
    with pytest.raises(NotImplementedError, match="use export_to_gif"):
        utils.export_to_video([])
