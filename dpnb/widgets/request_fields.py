"""The fields in which a person says what to draw: those that a pipeline's call takes."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from dpnb.pipelines.call_arguments import ArgumentKind, CallArgument, CallSignature
from dpnb.pipelines.explorable import ExplorablePipeline
from dpnb.widgets.argument_field import ArgumentField
from dpnb.widgets.field_widgets import menu, number_field, text_field
from dpnb.widgets.given_values import GivenValues
from dpnb.widgets.media_field import MediaField
from dpnb.widgets.media_input import KINDS, MediaInput, is_media
from dpnb.widgets.picture_shapes import list_shapes
from dpnb.widgets.sampling_rate import find_sampling_rate
from dpnb.widgets.scheduler_menu import SchedulerMenu
from dpnb.widgets.state import Request

if TYPE_CHECKING:
    from PIL.Image import Image

RESULTS = {"video": "Videos", "waveform": "Sounds"}
"""What a run makes several of, by a part of the argument's name; elsewhere pictures."""

LAST_SEED = 2**31 - 1

CHOOSE = ""
"""The entry of a menu that stands for no choice."""

MAIN_PICTURES = frozenset({"image", "mask_image", "control_image", "images", "video", "audio"})
"""Pictures without which few runs are of use, even where a call does not insist on them."""


class RequestFields:
    """A field for each thing that the call of a pipeline takes.

    Those that are common stand first, each with its own default; the rest is further ones. What the
    call does not take has a field that is not shown.

    Args:
        pipe: the pipeline.
        request: what the fields show at first.
        card_numbers: what they show where that says nothing: the numbers of a model card, by the
            names of the call.
    """

    def __init__(
        self, pipe: ExplorablePipeline, request: Request, card_numbers: Mapping[str, float]
    ) -> None:
        self._pipe, self._signature = pipe, pipe.call_signature
        request = request.with_card(self._signature, card_numbers)
        self.given = GivenValues()
        self.shown = frozenset(_names_to_show(self._signature, request.with_defaults(pipe)))
        self._build(pipe.size_unit)
        self.pictures = {
            one.given.argument: MediaField(one, _ignore if one.given.is_mask else self._fit)
            for one in self._find_media()
        }
        takes_strength = self._signature.find("strength")
        has_strength = bool(self.pictures) and takes_strength is not None
        self.strength = number_field("Strength", 1.0, 0.0, 1.0, 0.05) if has_strength else None
        self.more = {one.name: ArgumentField(one) for one in self._find_further()}
        self.show(request)
        self._name_card(card_numbers)

    @property
    def request(self) -> Request:
        """What the fields say.

        Raises:
            TypeError: something was written that the call does not take.
            ValueError: likewise.
        """
        written = {name: field.get() for name, field in self.more.items()}
        self.schedulers.follow()
        scheduler, scheduler_settings = self.schedulers.chosen
        return Request(
            prompt=self.prompt.value if "prompt" in self.shown else "",
            negative_prompt=self.negative.value if "negative_prompt" in self.shown else "",
            steps=self._get("steps", self.steps),
            guidance_scale=self._get("guidance_scale", self.guidance),
            width=self._get("width", self.width),
            height=self._get("height", self.height),
            seed=self.seed.value,
            count=self._get("count", self.count) or 1,
            scheduler=scheduler,
            scheduler_settings=scheduler_settings,
            strength=None if self.strength is None else self.strength.value,
            pictures=tuple(
                (name, field.media)
                for name, field in self.pictures.items()
                if field.media is not None
            ),
            more=tuple(
                (name, value)
                for name, value in {**written, **self.given.values}.items()
                if value is not None and not self._is_chosen(name)
            ),
            loads=tuple((n, field.source) for n, field in self.pictures.items() if field.source),
        )

    def _is_chosen(self, name: str) -> bool:
        """Whether an argument is given what was chosen from files."""
        field = self.pictures.get(name)
        return field is not None and field.media is not None

    def show(self, request: Request) -> None:
        """Say what `request` says."""
        self.prompt.value, self.negative.value = request.prompt, request.negative_prompt
        given = self._show_pictures(request)
        own = request.with_defaults(self._pipe)
        for field, value in (
            (self.steps, own.steps),
            (self.guidance, own.guidance_scale),
            (self.width, own.width),
            (self.height, own.height),
            (self.count, own.count),
            (self.seed, own.seed),
            (self.strength, own.strength),
        ):
            if field is not None and value is not None:
                field.min, field.max = min(field.min, value), max(field.max, value)
                field.value = value
        self.schedulers.follow()
        self.schedulers.choose(request.scheduler, request.scheduler_settings)
        given |= {name: value for name, value in request.more if name not in self.pictures}
        for name, value in self._name_numbers(request).items():
            if name in self.more and name not in given:
                given[name] = value
        unshown = {name: v for name, v in given.items() if name not in self.more}
        for name, further in self.more.items():
            if not further.set(given.get(name)):
                unshown[name] = given[name]
        self.given.set_values(unshown)

    def _name_numbers(self, request: Request) -> dict[str, Any]:
        """The common numbers of a request by the names of the call's arguments."""
        named = {
            self._signature.steps: request.steps,
            self._signature.guidance: request.guidance_scale,
            self._signature.find("width"): request.width,
            self._signature.find("height"): request.height,
            self._signature.find("strength"): request.strength,
        }
        return {one.name: value for one, value in named.items() if one is not None}

    def _show_pictures(self, request: Request) -> dict[str, Any]:
        """Show what was chosen from files; what is none of it comes back."""
        given, loads = dict(request.pictures), dict(request.loads)
        given |= {name: value for name, value in request.more if name in self.pictures}
        unshown = {}
        for name, field in self.pictures.items():
            media = given.pop(name, None)
            if media is None:
                field.clear()
            elif media is field.media:
                continue
            elif is_media(media):
                field.set_picture(media, loads.get(name, ""))
            else:
                field.clear()
                unshown[name] = media
        return {**given, **unshown}

    def give(self, name: str, value: Any) -> None:
        """Give an argument a value, in its field or, where that cannot show it, beside them.

        Raises:
            ValueError: the call takes no such argument.
        """
        if name not in self._signature and not self._signature.is_open:
            raise ValueError(f"{name} is no argument of this pipeline's call.")
        self.given.remove(name)
        if name in self.pictures and is_media(value):
            self.pictures[name].set_picture(value)
        elif name not in self.more or not self.more[name].set(value):
            self.given.set_values({**self.given.values, name: value})

    @property
    def inputs(self) -> list[w.Widget]:
        """All fields whose value a person changes."""
        further = [field.widget for field in self.more.values()]
        numbers = [one for one in self.numbers if one is not self.new_seed]
        words = [self.prompt, self.negative]
        return [*words, *numbers, self.scheduler, *further, *self.pictures.values(), self.given]

    def find_missing(self) -> str | None:
        """What is still to be chosen or written, in a sentence; `None` where all is there."""
        given = self.given.values
        for name, field in self.pictures.items():
            if field.media is None and not field.picture_input.is_optional and name not in given:
                return f"First choose {field.picture_input.hint}."
        for name, further in self.more.items():
            is_needed = further.argument.is_required and not further.argument.choices
            if is_needed and name not in given and further.get() is None:
                return (
                    f"First write {name}, or give it in a cell: "
                    f"panel.set_argument({name!r}, ...) on this panel."
                )
        return None

    @property
    def words(self) -> list[w.Widget]:
        """The fields of words and pictures with which most people begin."""
        shown = [
            field
            for name, field in (("prompt", self.prompt), ("negative_prompt", self.negative))
            if name in self.shown
        ]
        return [*shown, *(one for one in self.pictures.values() if _is_main(one))]

    @property
    def numbers(self) -> list[w.Widget]:
        """The fields of common numbers."""
        fields = {
            "steps": [self.steps],
            "guidance_scale": [self.guidance],
            "width": [self.width],
            "height": [self.height],
            "seed": [self.seed, self.new_seed, self.is_seed_fresh],
            "count": [self.count],
        }
        found = [one for name, several in fields.items() if name in self.shown for one in several]
        return found if self.strength is None else [*found, self.strength]

    @property
    def further(self) -> list[w.Widget]:
        """The fields of all else that the call takes."""
        pictures = [one for one in self.pictures.values() if not _is_main(one)]
        return [*(field.widget for field in self.more.values()), *pictures]

    def _name_card(self, numbers: Mapping[str, float]) -> None:
        """Let fields say which number the model card shows."""
        signature = self._signature
        named = ((signature.steps, self.steps), (signature.guidance, self.guidance))
        fields = {one.name: field for one, field in named if one is not None}
        fields |= {"width": self.width, "height": self.height}
        fields |= {} if self.strength is None else {"strength": self.strength}
        fields |= {name: further.widget for name, further in self.more.items()}
        for name, number in numbers.items():
            if name in fields:
                fields[name].tooltip = describe_card_number(name, number)

    def _get(self, name: str, field: w.Widget) -> Any:
        return field.value if name in self.shown else None

    def _build(self, unit: int) -> None:
        self.prompt = text_field("Prompt", "What to draw")
        self.negative = text_field("Not", "What not to draw")
        self.steps = number_field("Steps", 20, 1, 1000)
        self.guidance = number_field("Guidance", 5.0, 0.0, 50.0, 0.5)
        self.width = number_field("Width", unit, unit, 1 << 14, unit)
        self.height = number_field("Height", unit, unit, 1 << 14, unit)
        self.seed = number_field("Seed", 0, 0, LAST_SEED)
        self.count = number_field(self._name_results(), 1, 1, 64)
        self.new_seed = w.Button(description="🎲 New seed", layout={"width": "auto"})
        self.new_seed.tooltip = "Another seed, by chance"
        self.new_seed.on_click(lambda _: self.choose_seed())
        self.is_seed_fresh = w.Checkbox(
            description="New each time", indent=False, layout={"width": "auto"}
        )
        self.is_seed_fresh.tooltip = "Draw every picture from another seed"
        self.shape = self._build_shapes()
        self.schedulers = SchedulerMenu(self._pipe)
        self.scheduler = self.schedulers.menu

    def choose_seed(self) -> None:
        """Another seed, by chance."""
        self.seed.value = random.randrange(LAST_SEED)

    def _build_shapes(self) -> w.Dropdown:
        """A menu of sizes of the model's own area; without options where it has none."""
        sizes = {} if {"width", "height"} - self.shown else list_shapes(self._pipe)
        options = [("choose …", CHOOSE), *sizes.items()] if sizes else []
        shapes = menu("Shape", options, CHOOSE if sizes else None)
        shapes.observe(lambda change: self._take_shape(change["new"]), "value")
        return shapes

    def _take_shape(self, size: Any) -> None:
        if size != CHOOSE:
            self.width.value, self.height.value = size
            self.shape.value = CHOOSE

    def _name_results(self) -> str:
        """What a run makes several of."""
        count = self._signature.count
        name = "" if count is None else count.name
        return next((label for part, label in RESULTS.items() if part in name), "Pictures")

    def _find_further(self) -> Iterable[CallArgument]:
        """The arguments that have no field among the common ones, and can be given one."""
        signature = self._signature
        named = {
            "steps": signature.steps,
            "guidance_scale": signature.guidance,
            "count": signature.count,
        }
        common = {one.name for name, one in named.items() if one is not None and name in self.shown}
        common |= {name for name in self.shown if name not in named}
        common |= {"strength"} if self.strength is not None else set()
        kind = ArgumentKind.OTHER
        needed = [one for one in signature if one.kind is kind and one.is_required]
        words = [one for one in signature.settings if one.kind is ArgumentKind.TEXT]
        others = [one for one in signature.settings if one.kind is not ArgumentKind.TEXT]
        return [one for one in (*needed, *words, *others) if one.name not in common]

    def _find_media(self) -> Iterable[MediaInput]:
        """What is chosen from files, that first which has to be."""
        rate = find_sampling_rate(self._pipe.parts())
        inputs = {one.argument: one for one in self._pipe.picture_inputs}
        for name, given in inputs.items():
            argument = self._signature.find(name)
            is_foreign = argument is not None and argument.kind in KINDS
            yield MediaInput.of(argument, given) if is_foreign and argument else MediaInput(given)
        others = [one for one in self._signature if one.kind in KINDS and one.name not in inputs]
        for one in sorted(others, key=lambda one: not one.is_required):
            yield MediaInput.of(one, rate=rate)

    def _fit(self, picture: Image) -> None:
        """Draw in the shape of `picture`, and no larger than the model's own size."""
        size = self._pipe.default_size()
        if size is None:
            return
        scale = min((size[0] * size[1] / (picture.height * picture.width)) ** 0.5, 1.0)
        for field, side in ((self.height, picture.height), (self.width, picture.width)):
            unit = field.step
            field.value = max(round(side * scale) // unit, 1) * unit


def describe_card_number(name: str, number: float) -> str:
    """Where a number comes from, for the tooltip of its field."""
    return f"{name}; the checkpoint's model card shows {number}"


def _names_to_show(signature: CallSignature, request: Request) -> Iterable[str]:
    """The common fields: of what the call takes, and of numbers that `request` knows."""
    yield from (name for name in ("prompt", "negative_prompt") if name in signature)
    numbers: tuple[tuple[str, CallArgument | None, float | None], ...] = (
        ("steps", signature.steps, request.steps),
        ("guidance_scale", signature.guidance, request.guidance_scale),
        ("width", signature.find("width"), request.width),
        ("height", signature.find("height"), request.height),
    )
    for name, argument, asked in numbers:
        if argument is not None and asked is not None:
            yield name
    if "generator" in signature:
        yield "seed"
    if signature.count is not None:
        yield "count"


def _is_main(field: MediaField) -> bool:
    given = field.picture_input
    return not given.is_optional or given.argument in MAIN_PICTURES


def _ignore(picture: Image) -> None:
    """Hear of a picture, and do nothing."""
