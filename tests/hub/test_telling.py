"""Faults that last are told once, and then rarely."""

from __future__ import annotations

import logging

from appliance.hub.telling import MAX_NAMES, MAX_TEXTS, RETELL_US, Comings, Telling


def test_fault_is_told_once_and_again_after_a_long_time() -> None:
    telling = Telling()
    assert telling.tell("off", 0) == (logging.WARNING, "off")
    assert telling.tell("off", RETELL_US - 1) == (logging.DEBUG, "off")
    assert telling.tell("off", RETELL_US) == (
        logging.WARNING,
        "off (still, after 2 more attempts)",
    )


def test_faults_that_take_turns_are_told_once_each() -> None:
    telling = Telling()
    levels = [telling.tell(text, at)[0] for at, text in enumerate(("off", "mute") * 3)]
    assert levels == [logging.WARNING] * 2 + [logging.DEBUG] * 4


def test_fault_that_healed_is_news() -> None:
    telling = Telling()
    telling.tell("off", 0)
    assert telling.is_failing
    telling.heal()
    assert not telling.is_failing
    assert telling.tell("off", 1)[0] == logging.WARNING


def test_no_more_is_remembered_than_a_few_texts() -> None:
    telling = Telling()
    for number in range(2 * MAX_TEXTS):
        telling.tell(str(number), 0)
    assert telling.tell("0", 1)[0] == logging.WARNING
    assert telling.tell(str(2 * MAX_TEXTS - 1), 1)[0] == logging.DEBUG


def test_publisher_that_comes_and_goes_is_told_now_and_then() -> None:
    comings, second_us = Comings(), 1_000_000
    told = [comings.tell("live/cam", at_s * second_us) for at_s in range(180)]
    assert told[:3] == [0, 0, 0]
    assert [at_s for at_s, untold in enumerate(told) if untold] == [60, 120]
    assert told[60] == 57
    assert comings.tell("live/other", 180 * second_us) == 0
    assert comings.tell("live/cam", 3600 * second_us) == 59
    assert comings.tell("live/cam", 3601 * second_us) == 0


def test_comings_of_ever_new_names_are_forgotten() -> None:
    comings = Comings()
    for _ in range(10):
        comings.tell("live/cam", 0)
    for number in range(MAX_NAMES):
        assert comings.tell(f"live/{number}", 0) == 0
    assert comings.tell("live/cam", 0) == 0
