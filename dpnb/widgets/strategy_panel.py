"""The panel of strategies: each a switch with its settings."""

from __future__ import annotations

import html
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

import ipywidgets as w

from dpnb.pipelines.placement import describe_quantization
from dpnb.strategies.catalog import catalog_for
from dpnb.strategies.plans import plan_to_python
from dpnb.strategies.presets import PRESETS, Preset
from dpnb.strategies.settings import describe_strategy, list_presets, list_settings, strategy_label
from dpnb.strategies.strategy import Effect, Plan, Strategy
from dpnb.widgets.controls import Control, control_for
from dpnb.widgets.lora_field import LoraField
from dpnb.widgets.named_plans_field import NamedPlansField
from dpnb.widgets.panel import Panel, heading, hidden_part, status_html, status_line
from dpnb.widgets.run_code import request_to_python
from dpnb.widgets.run_panel import RunPanel
from dpnb.widgets.session import Session

BADGES = {
    Effect.EXACT: ("same picture", "exact"),
    Effect.APPROXIMATE: ("nearly the same", "approximate"),
    Effect.STYLISTIC: ("another picture", "stylistic"),
}


class StrategyPanel(Panel):
    """Switches, presets, and the code for what is on.

    Args:
        pipe: the pipeline.
        kinds: the strategies to show; by default all that are worth showing for its networks.
    """

    def __init__(self, pipe: Any, kinds: Sequence[type[Strategy]] | None = None) -> None:
        super().__init__(pipe)
        shown = catalog_for(self.session.pipe.strategies.networks) if kinds is None else kinds
        self.rows = {kind: StrategyRow(self.session, kind) for kind in shown}
        self.message, self.loras = status_line(), LoraField(self.session.loras)
        self.named = NamedPlansField(self.session, self._say)
        self._cleanup.callback(self.named.close)
        self.presets = [*map(self._preset_button, PRESETS), *self.named.buttons]
        self.copy = w.ToggleButton(
            description="Copy as Python", tooltip="Code that draws this, to the clipboard and below"
        )
        self.copy.add_class("dpnb-copy")
        self.python = w.Textarea(
            description="Python",
            rows=6,
            layout={"width": "100%", "display": "none"},
            style={"description_width": "0"},
        )
        self.python.add_class("dpnb-code")
        self.copy.observe(lambda _: self._show_code(), "value")
        self._said, self._said_of = "", frozenset[Strategy]()
        self._run: RunPanel | None = None
        self.fill(
            [
                heading("Switches"),
                _flow_box([*self.presets, self.copy], "dpnb-presets"),
                self.python,
                self.message,
                self.loras,
                *self._groups(),
            ]
        )
        self.watch(self.session.strategy_state, "revision", lambda _: self.show())
        loras = self.session.loras.state
        self.watch(loras, ["loaded", "message", "error", "is_busy"], lambda _: self.loras.show())
        self.loras.show()
        self.show()

    def follow(self, run: RunPanel) -> None:
        """Let the code draw what another panel asks for, where a pipeline was not written here."""
        self._run = run
        self.named.follow(lambda: run.request)
        if "prompt" in run.fields.shown:
            self.loras.follow(run.prompt)
        for field in run.fields.inputs:
            field.observe(self._on_request, "value")
            self._cleanup.callback(field.unobserve, self._on_request, "value")

    def code(self) -> str:
        """Python that switches on what is on now, and draws what the panel asks for that this one
        follows.
        """
        pipe, is_attached = self.session.pipe, self.session.is_attached
        switches = plan_to_python(self.session.strategy_state.wanted, is_attached=is_attached)
        if self._run is None:
            return switches
        request = self._run.request
        call = request_to_python(request, pipe.call_signature, pipe.scheduler)
        return f"{switches}\n\n{call}"

    def _on_request(self, _: Any) -> None:
        self._show_code()

    def show(self) -> None:
        """Bring all switches to what is on."""
        with self.session.lock:
            state = self.session.strategy_state
            for row in self.rows.values():
                row.show(state.wanted, state.active)
            tone = (
                "error" if state.is_refused else "wait" if state.wanted != state.active else "plain"
            )
            words = state.message if state.is_refused else self._describe_waiting(state.message)
            self.message.value = status_html(words or self._remark() or self._summary(), tone)
            self._show_code()
            self.session.loras.refresh()

    def _describe_waiting(self, message: str) -> str:
        state = self.session.strategy_state
        changed = state.wanted ^ state.active
        if not changed or not message:
            return message and f"The last switch is {message}."
        kinds = list(dict.fromkeys(strategy_label(type(strategy)) for strategy in changed))
        return f"{', '.join(sorted(kinds))}: {message}"

    def _summary(self) -> str:
        names = [describe_strategy(strategy) for strategy in self.session.strategy_state.active]
        on = f"On: {', '.join(sorted(names))}." if names else "Nothing is switched on."
        stored = describe_quantization(self.session.pipe.parts())
        weights = [f"Quantized weights: {stored}."] if stored else []
        return " ".join([on, *weights, *self.session.pipe.strategies.remarks])

    def _show_code(self) -> None:
        self.python.layout.display = None if self.copy.value else "none"
        try:
            self.python.value = self.code()
        except (ValueError, TypeError) as error:
            self.python.value = f"# {error}"

    def _preset_button(self, preset: Preset) -> w.Button:
        button = w.Button(description=preset.name, tooltip=preset.summary, layout={"width": "auto"})
        button.on_click(partial(self._use_preset, preset))
        return button

    def _say(self, words: str) -> None:
        """Say what becomes of a preset or of a named plan, until something else is switched."""
        self._said, self._said_of = words, self.session.strategy_state.wanted
        self.show()

    def _remark(self) -> str:
        """What was said of what is on now."""
        is_planning = self.named.planner.plan_state.is_busy
        is_valid = is_planning or self._said_of == self.session.strategy_state.wanted
        return self._said if is_valid else ""

    def _use_preset(self, preset: Preset, _: w.Button) -> None:
        chosen = preset.plan(self.session.pipe.strategies)
        self.session.use(chosen.plan)
        left = [f"{name} left out: {reason}" for name, reason in chosen.left_out.items()]
        self._say(f"{preset.name}. {' '.join(left)}" if left else "")

    def _groups(self) -> list[w.Widget]:
        """The rows, those that can all be switched on here first.

        There is a frame around those of which only one can be on.
        """
        slots = dict.fromkeys(kind.slot for kind in self.rows)
        groups = [[r for k, r in self.rows.items() if k.slot == slot] for slot in slots]
        groups.sort(key=lambda rows: any(row.is_barred for row in rows))
        return [rows[0].widget if len(rows) == 1 else _frame(rows) for rows in groups]


class StrategyRow:
    """One strategy: its switch, its settings, and why it cannot be switched on where it cannot.

    Args:
        session: what it acts upon.
        kind: the strategy.
    """

    def __init__(self, session: Session, kind: type[Strategy]) -> None:
        self._session, self._kind = session, kind
        self._showing = threading.local()
        networks = session.pipe.strategies.networks
        self.switch = w.Checkbox(
            description=strategy_label(kind),
            indent=False,
            tooltip=kind.summary(),
            layout={"width": "auto"},
        )
        self.controls: dict[str, Control] = {
            setting.name: control_for(setting, networks) for setting in list_settings(kind)
        }
        self._badge, self._note = w.HTML(), w.HTML()
        named = list_presets(kind)
        self.menu = self._preset_menu(named) if named else None
        self.switch.observe(self._on_switch, "value")
        for control in self.controls.values():
            control.on_change(self._on_setting)
        self.widget = self._arrange()

    @property
    def draft(self) -> Strategy:
        """The strategy with the settings that are shown.

        Raises:
            ValueError: one of them is impossible.
            TypeError: likewise.
        """
        return self._kind(**{name: control.get() for name, control in self.controls.items()})

    @property
    def note(self) -> str:
        """What is said of it: what it does, why it cannot be switched on, or that it waits."""
        return html.unescape(self._note.value)

    @property
    def slot_name(self) -> str:
        """What it decides, in a word or two."""
        return self._kind.slot.name.lower().replace("_", " ")

    @property
    def is_barred(self) -> bool:
        """Whether it cannot be switched on here with these settings."""
        return self._check_draft()[1] is not None

    def show(self, wanted: Plan, active: Plan) -> None:
        """Show what will be on and what is."""
        chosen = next((s for s in wanted if type(s) is self._kind), None)
        present = next((s for s in active if type(s) is self._kind), None)
        self._showing.now = True
        try:
            if chosen is not None:
                for name, control in self.controls.items():
                    control.set(getattr(chosen, name))
            self.switch.value = chosen is not None
        finally:
            self._showing.now = False
        self._explain(chosen, present)

    def _explain(self, chosen: Strategy | None, present: Strategy | None) -> None:
        draft, reason = self._check_draft()
        is_held = chosen is not None or present is not None
        self.switch.disabled = reason is not None and not is_held
        words, effect = BADGES[(draft or self._kind()).effect]
        self._badge.value = f'<span class="dpnb-badge dpnb-{effect}">{words}</span>'
        if chosen != present:
            text, tone = "takes effect between two steps", "wait"
        elif reason is not None and not is_held:
            text, tone = reason, "reason"
        else:
            text, tone = self._kind.summary(), "summary"
        self._note.value = f'<div class="dpnb-note dpnb-{tone}">{html.escape(text)}</div>'

    def _check_draft(self) -> tuple[Strategy | None, str | None]:
        try:
            draft = self.draft
            return draft, self._session.obstacle(draft)
        except (ValueError, TypeError) as error:
            return None, str(error)

    def _on_switch(self, change: Any) -> None:
        if self._is_showing:
            return
        if not change["new"]:
            self._session.disable(self._kind)
            return
        self._request()

    def _on_setting(self) -> None:
        if self._is_showing:
            return
        if self.switch.value:
            self._request()
        else:
            with self._session.lock:
                self._explain(None, None)

    def _request(self) -> None:
        try:
            self._session.enable(self.draft)
        except (ValueError, TypeError) as error:
            self._session.show_refusal(str(error))

    @property
    def _is_showing(self) -> bool:
        """Whether this thread is bringing the widgets to what is on, and no person has acted."""
        return bool(vars(self._showing).get("now", False))

    def _arrange(self) -> w.VBox:
        settings = {setting.name: setting for setting in list_settings(self._kind)}
        plain = [c.widget for name, c in self.controls.items() if not settings[name].is_advanced]
        rare = [c.widget for name, c in self.controls.items() if settings[name].is_advanced]
        if self.menu is not None:
            plain.insert(0, self.menu)
        top, below = [self.switch, self._badge], [self._note]
        if plain:
            below.append(_flow_box(plain, "dpnb-settings"))
        if rare:
            button, box = hidden_part(rare, f"Further settings of {strategy_label(self._kind)}")
            top.insert(1, button)
            below.append(box)
        row = w.VBox([_flow_box(top, "dpnb-top"), *below])
        row.add_class("dpnb-strategy")
        row.add_class(f"dpnb-{self._kind.__name__}")
        return row

    def _preset_menu(self, named: dict[str, Strategy]) -> w.Dropdown:
        menu = w.Dropdown(
            description="preset", options=[("choose …", ""), *named.items()], value="",
            layout={"width": "auto"}, style={"description_width": "7.5em"},
        )  # fmt: skip
        menu.observe(lambda change: self._take_preset(menu, change["new"]), "value")
        return menu

    def _take_preset(self, menu: w.Dropdown, preset: Strategy | str) -> None:
        if isinstance(preset, str):
            return
        self._showing.now = True
        try:
            for name, control in self.controls.items():
                control.set(getattr(preset, name))
        finally:
            self._showing.now = False
        menu.value = ""
        self._on_setting()


def _frame(rows: list[StrategyRow]) -> w.VBox:
    """Rows of which one can be on."""
    title = f'<div class="dpnb-group-title">{rows[0].slot_name}: one at a time</div>'
    group = w.VBox([w.HTML(title), *(row.widget for row in rows)])
    group.add_class("dpnb-group")
    return group


def _flow_box(children: list[w.Widget], name: str) -> w.Box:
    """Side by side, and into a further line where there is no room."""
    box = w.Box(children)
    box.add_class(name)
    return box
