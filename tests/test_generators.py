import pytest
import torch

from dpnb.generators import check_device, randn


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_one_seed_gives_one_noise_in_every_dtype_and_batch_of_generators() -> None:
    alone = randn((1, 2, 3), generator=seeded(5))
    listed = randn((2, 2, 3), generator=[seeded(5), seeded(6)])
    assert torch.equal(alone[0], listed[0])
    assert not torch.equal(listed[0], listed[1])


def test_a_list_of_one_generator_is_that_generator() -> None:
    assert torch.equal(randn((3, 2), generator=[seeded(1)]), randn((3, 2), generator=seeded(1)))


def test_numbers_of_a_cpu_generator_travel() -> None:
    assert randn((2,), generator=seeded(0), device="meta").device.type == "meta"
    assert randn((2,), dtype=torch.float16).dtype == torch.float16


def test_a_list_must_be_as_long_as_the_batch() -> None:
    with pytest.raises(ValueError, match="list of 2, but the batch holds 3 pictures"):
        randn((3, 3), generator=[seeded(0), seeded(1)])


class ElsewhereGenerator(torch.Generator):
    """A generator that says that it lives on a device which is not here."""

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return torch.device("cuda:0")


def test_a_generator_of_another_device_is_refused() -> None:
    with pytest.raises(ValueError, match=r"lives on cuda:0, but the numbers are needed on cpu"):
        check_device(ElsewhereGenerator(), torch.device("cpu"))
