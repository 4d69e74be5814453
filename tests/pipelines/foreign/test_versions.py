"""What scripts ask before they begin."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from dpnb.loading.settings_files import FORMAT_VERSION
from dpnb.pipelines.foreign.versions import is_compiled_module
from dpnb.utils import check_min_version, is_peft_available


def test_scripts_for_later_releases_are_refused() -> None:
    for version in ("0.1.0", f"{FORMAT_VERSION}.dev0", FORMAT_VERSION):
        check_min_version(version)
    with pytest.raises(ImportError, match=r"needs diffusers 99\.0\.0"):
        check_min_version("99.0.0")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_torch_wraps_is_known() -> None:
    layer = nn.Linear(2, 2)
    assert not is_compiled_module(layer)
    compiled: Any = torch.compile(layer)
    assert is_compiled_module(compiled)


def test_peft_is_found() -> None:
    assert is_peft_available()
