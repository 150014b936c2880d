"""Tokens: good for one stream and for a while, and nothing else is."""

from __future__ import annotations

import random

import pytest
from hls_site import HeldClock

from appliance.services.hls.tokens import LIFETIME_S, Tokens


def test_token_is_valid_for_its_stream_until_it_expires() -> None:
    clock = HeldClock()
    tokens = Tokens(clock)
    token = tokens.issue("live/camera")
    assert tokens.is_valid(token, "live/camera")
    assert not tokens.is_valid(token, "live/camera2")
    clock.advance((LIFETIME_S - 1) * 1_000_000)
    assert tokens.is_valid(token, "live/camera")
    clock.advance(1_000_000)
    assert not tokens.is_valid(token, "live/camera")


def test_token_ignores_the_wall_clock() -> None:
    clock = HeldClock()
    tokens = Tokens(clock)
    token = tokens.issue("live/camera")
    clock.wall_us = 0
    assert tokens.is_valid(token, "live/camera")


def test_token_of_another_process_is_nothing() -> None:
    clock = HeldClock()
    assert not Tokens(clock).is_valid(Tokens(clock).issue("a"), "a")


def test_tokens_of_two_viewers_differ() -> None:
    tokens = Tokens(HeldClock())
    assert tokens.issue("a") != tokens.issue("a")


def test_token_needs_no_escaping() -> None:
    tokens = Tokens(HeldClock())
    joined = "".join(tokens.issue("a") for _ in range(50))
    assert joined.replace("-", "").replace("_", "").isalnum()


@pytest.mark.parametrize("token", ["", "x", "=" * 36, "é" * 36, "A" * 36, "A" * 37, "A" * 4096])
def test_token_that_is_none_is_refused(token: str) -> None:
    assert not Tokens(HeldClock()).is_valid(token, "live/camera")


def test_token_has_one_spelling() -> None:
    """Or else a viewer whom the operator ended would be another one by a stroke."""
    tokens = Tokens(HeldClock())
    token = next(t for t in iter(lambda: tokens.issue("a"), "") if "-" in t or "_" in t)
    assert tokens.is_valid(token, "a")
    assert not tokens.is_valid(token.replace("-", "+").replace("_", "/"), "a")


def test_token_changed_anywhere_is_refused() -> None:
    tokens = Tokens(HeldClock())
    token = tokens.issue("live/camera")
    dice = random.Random(1)
    for at in range(len(token)):
        other = dice.choice([char for char in "ABCdef019-_" if char != token[at]])
        assert not tokens.is_valid(token[:at] + other + token[at + 1 :], "live/camera")
