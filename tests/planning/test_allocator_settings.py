"""The allocator's settings, as text has them."""

from __future__ import annotations

import pytest

from dpnb.planning.allocator_settings import AllocatorSettings

MIB = 1 << 20


def test_nothing_said_is_the_default() -> None:
    assert AllocatorSettings.parse("") == AllocatorSettings()
    assert AllocatorSettings.of_environment({}) == AllocatorSettings()


def test_every_key_is_read_and_others_are_ignored() -> None:
    text = (
        "expandable_segments:True, max_split_size_mb:128,backend:native,"
        "roundup_power2_divisions:[256:1,512:2,1024:4,>:8],garbage_collection_threshold:0.8,"
        "per_process_memory_fraction:0.5,pinned_use_cuda_host_register:True"
    )
    assert AllocatorSettings.parse(text) == AllocatorSettings(
        max_split_size=128 * MIB,
        power_divisions=((256 * MIB, 1), (512 * MIB, 2), (1024 * MIB, 4), (None, 8)),
        expandable_segments=True,
        garbage_threshold=0.8,
        memory_fraction=0.5,
    )


def test_one_number_divides_every_power_of_two() -> None:
    settings = AllocatorSettings.parse("roundup_power2_divisions:4")
    assert [settings.divisions_of(size) for size in (1, MIB, 1 << 40)] == [4, 4, 4]


def test_the_newer_name_of_the_variable_counts_first() -> None:
    both = {
        "PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:64",
        "PYTORCH_ALLOC_CONF": "max_split_size_mb:32",
    }
    assert AllocatorSettings.of_environment(both).max_split_size == 32 * MIB
    del both["PYTORCH_ALLOC_CONF"]
    assert AllocatorSettings.of_environment(both).max_split_size == 64 * MIB


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("128", "'128' is no setting of torch's allocator; write keys"),
        ("max_split_size_mb:20", "max_split_size_mb is 20; it must be more than 20."),
        ("max_split_size_mb:many", "max_split_size_mb is many; it must be a whole number."),
        ("expandable_segments:yes", "expandable_segments is yes; it must be True or False."),
        ("garbage_collection_threshold:1.5", "is 1.5; it must be more than 0 and at most 1."),
        ("roundup_power2_divisions:3", "roundup_power2_divisions has 3; it must be a power of two"),
        ("roundup_power2_divisions:[100:2]", "roundup_power2_divisions has 100; it must be a p"),
    ],
)
def test_what_is_wrong_is_said(text: str, sentence: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        AllocatorSettings.parse(text)
    assert sentence in str(caught.value)
