"""What every line does with the appliance's commands, and how it tells what it does.

The document of `State` is made of three parts: what the source knows of its device, what the line
knows of its encoding, and the device's controls.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from appliance.capture.clock import monotonic_us
from appliance.capture.commands import Commands
from appliance.capture.fault import ChangeRefused
from appliance.capture.outlet import Sink
from appliance.capture.pipeline.changes import Controls, Wishes, read_change
from appliance.capture.pipeline.stills import StillDesk
from appliance.wire.pipe.messages import Change, Rung

log = logging.getLogger(__name__)

STATE_INTERVAL_US = 1_000_000
RETELL_US = 10_000_000  # a state that stays the same is told this often


class Console:
    """apply: does the checked wishes that are not controls; may raise ChangeRefused, and then has
    done nothing. figures: the line's part of the state."""

    def __init__(
        self,
        sink: Sink,
        commands: Commands,
        desk: StillDesk,
        *,
        max_fps: int,
        check: Callable[[Wishes], None],
        apply: Callable[[Wishes], None],
        figures: Callable[[int], dict[str, Any]],
    ) -> None:
        self._sink = sink
        self._commands = commands
        self._desk = desk
        self._max_fps = max_fps
        self._check = check
        self._apply = apply
        self._figures = figures
        self._device: dict[str, Any] = {}
        self._controls: Controls | None = None
        self._told: dict[str, Any] = {}
        self._told_us = 0
        self._due_us: int | None = None

    def set_device(self, document: dict[str, Any], controls: Controls | None) -> None:
        self._device = document
        self._controls = controls
        self.changed()

    def changed(self) -> None:
        """The state is told at the next opportunity."""
        self._due_us = 0

    def obey(self) -> Rung | None:
        """Changes, requests for pictures, and what of the recovery concerns others."""
        commands, now_us = self._commands, monotonic_us()
        for change in commands.take_changes():
            self._change(change)
        if commands.has_pictures:
            self._desk.ask(commands.take_pictures(), now_us)
        if self._desk.is_asked:
            self._desk.expire(now_us)
        if self._due_us is not None and now_us >= self._due_us:
            self._tell(now_us)
        return commands.take_recover()

    def _change(self, change: Change) -> None:
        error = ""
        try:
            wishes = read_change(change.values, max_fps=self._max_fps)
            self._check(wishes)
            before = self._set_controls(wishes.controls)
            try:
                self._apply(wishes)
            except ChangeRefused:
                self._set_controls(before)
                raise
        except ChangeRefused as refusal:
            error = str(refusal)
        self._sink.answer(change.serial, error)
        self.changed()

    def _set_controls(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What they were before, as far as the device tells."""
        if not values:
            return {}
        if self._controls is None:
            raise ChangeRefused("this camera has no controls")
        known = self._controls.describe()
        before = {name: known[name]["value"] for name in values if "value" in known.get(name, {})}
        self._controls.set(values)
        return before

    def _tell(self, now_us: int) -> None:
        document = self._device | self._figures(now_us)
        if "why" in self._device:  # the source knows more
            document["why"] = self._device["why"]
        if self._controls is not None:
            document["controls"] = self._controls.describe()
        if document != self._told or now_us - self._told_us >= RETELL_US:
            self._told, self._told_us = document, now_us
            self._sink.state(document)
        self._due_us = now_us + STATE_INTERVAL_US
