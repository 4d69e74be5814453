from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import dpnb
from dpnb.errors import CheckpointError
from dpnb.loading.hub import HubOptions
from dpnb.loading.original_file import OriginalFile
from dpnb.pipelines.opening import open_any_pipeline
from tests.hub_server import HubServer
from tests.reference.original_files import write_original


def test_a_folder_and_a_file_of_a_whole_pipeline_are_opened(hub: HubServer, tmp_path: Path) -> None:
    pipe: Any = dpnb.random_pipeline("tiny-sd")
    folder, file = tmp_path / "folder", tmp_path / "all.safetensors"
    pipe.save_pretrained(folder)
    write_original(folder, file)
    hub.add(OriginalFile.read(file, HubOptions(), dtype=None).usual_settings, folder)
    for place in (folder, file):
        opened = open_any_pipeline(str(place))
        assert type(opened) is type(pipe)
        assert opened.strategies.active == frozenset()
        for name, weight in pipe.unet.state_dict().items():
            assert torch.equal(opened.unet.state_dict()[name].cpu(), weight)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="model_index"):
        open_any_pipeline(str(tmp_path))
