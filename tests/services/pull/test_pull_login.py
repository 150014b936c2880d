"""A camera that refuses the login is left in peace, until somebody may have mended it."""

from __future__ import annotations

import re
from typing import Any

from camera_login import Login
from fault_camera import fault_camera
from relay_site import Place, place, until
from rtsp_source import QUICK, from_camera, last_error

from appliance.services.pull import Settings
from appliance.services.pull.refusal import FIRST_S, MAX_S, SOON_S, Patience
from appliance.services.pull.service import PullService

JITTER = 1.25


def report(at: Place) -> dict[str, Any]:
    row: dict[str, Any] = at.service(PullService).report()[0]
    return row


async def until_refused(at: Place) -> float:
    """Until it waits because of a login; for how many seconds it will."""
    await until(lambda: report(at)["retry_s"] and last_error(at).startswith("login: "))
    seconds: float = report(at)["retry_s"]
    return seconds


async def test_wrong_password_is_not_shown_again_for_a_minute() -> None:
    async with (
        fault_camera(login=Login()) as camera,
        place(from_camera(camera, login="admin:wrong@"), serves=False) as edge,
    ):
        assert await until_refused(edge) > FIRST_S - 30
        assert camera.connections == 1
        assert len(camera.shown) == 1
        assert re.match("login: wrong user or password .*401", last_error(edge))


async def test_mended_password_is_tried_at_once() -> None:
    async with fault_camera(login=Login()) as camera:
        stream = from_camera(camera, login="admin:wrong@")
        mended = from_camera(camera, login="admin:s3cret@")
        async with place(stream, serves=False) as edge:
            await until_refused(edge)
            assert edge.service(PullService).reload(Settings(), (mended,)) == []
            await until(lambda: edge.stream.is_live)


async def test_reload_tries_a_refused_login_at_once_as_the_camera_may_have_been_mended() -> None:
    login = Login(password="changed")
    async with fault_camera(login=login) as camera:
        stream = from_camera(camera, login="admin:s3cret@")
        async with place(stream, serves=False) as edge:
            await until_refused(edge)
            login.password = "s3cret"
            assert edge.service(PullService).reload(Settings(), (stream,)) == []
            await until(lambda: edge.stream.is_live)
            assert report(edge)["retry_s"] is None


async def test_forbidden_is_told_and_waited_out_as_a_wrong_password_is() -> None:
    async with (
        fault_camera(answers={"DESCRIBE": "403 Forbidden"}) as camera,
        place(from_camera(camera), serves=False, pulls=QUICK) as edge,
    ):
        assert await until_refused(edge) > FIRST_S - 30
        assert "the user may not do it, or is locked out" in last_error(edge)


def test_patience_grows_to_half_an_hour() -> None:
    patience = Patience()
    delays_s = [patience.next_s() for _ in range(12)]
    assert FIRST_S <= delays_s[0] <= FIRST_S * JITTER
    assert all(a * 1.5 < b for a, b in zip(delays_s[:5], delays_s[1:5], strict=False))
    assert all(MAX_S <= one <= MAX_S * JITTER for one in delays_s[5:])


def test_patience_is_short_once_with_a_camera_that_has_let_us_in() -> None:
    patience = Patience()
    patience.next_s()
    patience.let_in()
    assert SOON_S <= patience.next_s() <= SOON_S * JITTER
    assert FIRST_S <= patience.next_s() <= FIRST_S * JITTER
