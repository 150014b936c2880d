"""What a PATCH may say, and the sentence for what it may not."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.errors import ConfigError
from appliance.services.api.change import parse_change


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ({"bitrate": "1500k"}, {"bitrate": 1_500_000}),
        ({"bitrate": 1_500_000}, {"bitrate": 1_500_000}),
        ({"keyframe": "2s"}, {"keyframe": 2_000_000}),
        ({"keyframe": 0.5}, {"keyframe": 500_000}),
        ({"fps": 15}, {"fps": 15}),
        ({"text": ""}, {"text": ""}),
        ({"text": "Tür 1 · côté"}, {"text": "Tür 1 · côté"}),
        ({"overlay": True, "enabled": False}, {"overlay": True, "enabled": False}),
        ({"preset": "night"}, {"preset": "night"}),
        (
            {"controls": {"mode": "Auto", "gains": [1, 2.5]}},
            {"controls": {"mode": "Auto", "gains": [1, 2.5]}},
        ),
        (
            {"controls": {"brightness": 10, "gain": 1.5, "af": True}},
            {"controls": {"brightness": 10, "gain": 1.5, "af": True}},
        ),
    ],
)  # fmt: skip
def test_change_is_read_with_the_units_people_write(
    given: dict[str, Any], values: dict[str, Any]
) -> None:
    assert parse_change(given) == values


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ([], 'send a JSON object, such as {"fps": 15}'),
        (None, "send a JSON object"),
        ("fps", "send a JSON object"),
        ({}, "nothing to change; there are controls, bitrate, fps, keyframe"),
        ({"fsp": 15}, '"fsp" is no setting; there are controls, bitrate, fps'),
        ({"\x1b[2J": 1}, "that name is no setting"),
        ({"fps": 0}, "fps: must be from 1 to "),
        ({"fps": 1000}, "fps: must be from 1 to "),
        ({"fps": 15.5}, "fps: must be a whole number"),
        ({"fps": "15"}, "fps: must be a whole number"),
        ({"fps": True}, "fps: must be a whole number"),
        ({"bitrate": 1}, "bitrate: must be from 16k to 200M"),
        ({"bitrate": "2X"}, 'bitrate: "X" is no unit of a bitrate'),
        ({"bitrate": -5}, "bitrate: not a bitrate; write 64k, 2M or 2.5M"),
        ({"bitrate": True}, "bitrate: not a bitrate"),
        ({"bitrate": None}, "bitrate: not a bitrate"),
        ({"bitrate": 1e300}, "bitrate: not a bitrate"),
        ({"keyframe": "10ms"}, "keyframe: must be from 100ms to 1m"),
        ({"keyframe": {}}, "keyframe: not a duration"),
        ({"text": 5}, "text: must be a string"),
        ({"text": "x" * 201}, "text: has 201 characters, at most 200"),
        ({"text": "a\nb"}, "text: must be one line"),
        ({"text": "a\u202eb"}, "text: must be one line"),
        ({"overlay": 1}, "overlay: must be true or false"),
        ({"enabled": "yes"}, "enabled: must be true or false"),
        ({"preset": ""}, "preset: must be the name of a preset"),
        ({"preset": 5}, "preset: must be a string"),
        ({"controls": {}}, "controls: must be an object of names and values"),
        ({"controls": [1]}, "controls: must be an object"),
        ({"controls": {"": 1}}, "is not a control's name"),
        ({"controls": {"x" * 65: 1}}, "is not a control's name"),
        ({"controls": {"a\n": 1}}, "that name is not a control's name"),
        ({"controls": {"a": None}}, 'controls: "a": must be a number, true, false, a string'),
        ({"controls": {"a": {"b": 1}}}, 'controls: "a": must be'),
        ({"controls": {"a": []}}, 'controls: "a": must be'),
        ({"controls": {"a": [[1]]}}, 'controls: "a": must be'),
        ({"controls": {"a": ["x"]}}, 'controls: "a": must be'),
        ({"controls": {"a": [1] * 17}}, 'controls: "a": must be'),
        ({"controls": {"a": float("inf")}}, 'controls: "a": must be'),
        ({"controls": {f"c{n}": 1 for n in range(65)}}, "has 65 names, at most 64"),
    ],
)  # fmt: skip
def test_change_that_is_wrong_is_one_sentence_with_what_is_possible(given: Any, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_change(given)
    assert fault in str(caught.value)
    assert str(caught.value).isprintable()
