"""Constructors say which settings they take."""

from inspect import Parameter, signature
from typing import Any

import pytest

import dpnb


@pytest.mark.parametrize(
    "name",
    ["UNet2DConditionModel", "AutoencoderKL", "DDIMScheduler", "FlowMatchEulerDiscreteScheduler"],
)
def test_settings_are_the_arguments_of_a_constructor(name: str) -> None:
    kind = getattr(dpnb, name)
    arguments = signature(kind).parameters

    assert set(arguments) == set(kind.config_class.names())
    assert list(signature(kind.__init__).parameters) == ["self", *arguments]
    built = kind()
    for argument in arguments.values():
        assert built.config[argument.name] == argument.default, argument.name


def test_settings_that_need_their_names_say_so() -> None:
    arguments = signature(dpnb.DDIMScheduler).parameters

    assert arguments["beta_schedule"].kind is Parameter.POSITIONAL_OR_KEYWORD
    assert arguments["clip_sample"].kind is Parameter.KEYWORD_ONLY


def test_constructors_of_derived_classes_say_their_own() -> None:
    class Plain(dpnb.DDIMScheduler):
        """Adds nothing."""

    class Fewer(dpnb.DDIMScheduler):
        """Takes one setting."""

        def __init__(self, clip_sample: bool = False) -> None:
            super().__init__(clip_sample=clip_sample)

    class More(dpnb.DDIMScheduler):
        """Takes one that is none."""

        def __init__(self, shade: str, *values: Any, **settings: Any) -> None:
            super().__init__(*values, **settings)
            self.shade = shade

    assert signature(Plain) == signature(dpnb.DDIMScheduler)
    assert list(signature(Fewer).parameters) == ["clip_sample"]
    assert list(signature(More).parameters) == ["shade", "values", "settings"]
    assert Plain(500).config.num_train_timesteps == 500
    assert Fewer().config.clip_sample is False
    assert More("red", 500).config.num_train_timesteps == 500


def test_classes_between_two_others_are_still_asked() -> None:
    class Middle(dpnb.DDIMScheduler):
        """Adds nothing."""

    class Beside(dpnb.DDIMScheduler):
        """Is next to it."""

        def __init__(self, *values: Any, **settings: Any) -> None:
            super().__init__(*values, **settings)
            self.was_asked = True

    class Both(Middle, Beside):
        """Is built by both."""

    assert Both().was_asked
