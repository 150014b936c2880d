"""Streams on their way to destinations that take them, refuse them, hang, move and come back."""

from __future__ import annotations

import asyncio
import logging
import ssl
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from forward_site import KEY, NAME, Camera, filming, forward_site, origin, rule
from framehash import clip_units
from nginx_destination import free_port

from appliance.hub.subscription import Start
from appliance.media.amf0 import decode
from appliance.media.unit import AccessUnit
from appliance.net import horizon
from appliance.net.horizon import Distance
from appliance.services.forward import publication
from appliance.services.forward.settings import Rule, TlsOptions
from appliance.wire.rtmp.message import Message, MessageType

SHORT = {"max_backlog_us": 500_000}


async def test_stream_is_handed_on_from_its_headers_and_a_keyframe() -> None:
    async with origin() as there, forward_site(rule(there.url())) as site:
        assert site.service.report() == []
        async with filming(Camera(site.hub)):
            await site.until(lambda: len(there.media) > 40)
            assert there.publishes[0].name == KEY
            assert there.connects[0].app == "live"
            row = site.row()
            assert row["state"] == "live" and row["bytes"] > 1000 and row["attempts"] == 1
            assert row["stream"] == NAME and row["url"] == f"rtmp://127.0.0.1:{there.port}/live/***"
        kinds = there.kinds()
        assert kinds[0] == MessageType.DATA
        words = there.metadata()
        assert words[:2] == ["@setDataFrame", "onMetaData"] and words[2]["width"] == 192
        headers = [m.payload[:2] for m in there.media[1:3]]
        assert sorted(headers) == [b"\x17\x00", b"\xaf\x00"]
        first = next(m for m in there.media[3:] if m.kind == MessageType.VIDEO)
        assert first.payload[:2] == b"\x17\x01"
        await site.until(lambda: there.stops)
        await site.until_state("waiting")
        assert site.row()["last_error"] == ""


async def test_names_are_filled_in_and_patterns_choose() -> None:
    async with origin() as there:
        to = there.url("{app}-of-{device}/{stream}?k={stream}")
        async with (
            forward_site(rule(to, stream="cams/a*, live/x")) as site,
            filming(Camera(site.hub, name="cams/attic")),
            filming(Camera(site.hub, name="cams/barn")),
        ):
            await site.until(lambda: there.publishes)
            assert there.connects[0].app == "cams-of-door"
            assert there.publishes[0].name == "attic?k=attic"
            assert [row["stream"] for row in site.service.report()] == ["cams/attic"]


async def test_rule_that_is_off_does_nothing() -> None:
    async with (
        origin() as there,
        forward_site(rule(there.url(), enabled=False)) as site,
        filming(Camera(site.hub)) as camera,
    ):
        await site.until(lambda: len(camera.units) > 10)
        assert site.service.report() == [] and not there.connections


async def test_absent_destination_is_tried_again_until_it_is_there() -> None:
    port = free_port()
    async with (
        forward_site(rule(f"rtmp://127.0.0.1:{port}/live/{KEY}")) as site,
        filming(Camera(site.hub)),
    ):
        await site.until_error("connection refused")
        assert site.row()["state"] in {"waiting", "connecting"}
        async with origin(port=port) as there:
            await site.until(lambda: len(there.media) > 10)
            assert site.row()["attempts"] >= 2


async def test_each_destination_that_fails_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    ports = [free_port(), free_port()]
    urls = [f"rtmp://127.0.0.1:{port}/live/{KEY}" for port in ports]
    async with forward_site(rule(*urls)) as site, filming(Camera(site.hub)):
        await site.until(
            lambda: [row["attempts"] > 1 for row in site.service.report()] == [True] * 2
        )
    for port in ports:
        told = [one for one in caplog.records if f":{port}/live failed" in one.getMessage()]
        assert len(told) == 1, "at the same moment, or again and again"


async def test_name_that_is_taken_is_tried_again() -> None:
    async with (
        origin(refuse="NetStream.Publish.BadName") as there,
        forward_site(rule(there.url())) as site,
        filming(Camera(site.hub)),
    ):
        await site.until_error("NetStream.Publish.BadName")
        assert site.context.faults.counts["forward", "refused"] >= 1
        there.refuse = ""  # the session from before a Wi-Fi drop has timed out there
        await site.until_state("live")


async def test_connection_that_is_reset_is_made_anew() -> None:
    async with (
        origin() as there,
        forward_site(rule(there.url())) as site,
        filming(Camera(site.hub)),
    ):
        await site.until(lambda: len(there.media) > 10)
        for writer in list(there.writers):
            writer.transport.abort()
        await site.until(lambda: len(there.publishes) == 2 and len(there.media) > 10)
        assert site.row()["state"] == "live" and site.row()["last_error"]
        assert there.media[0].kind == MessageType.DATA, "headers first again"


async def test_redirect_is_followed_with_the_key() -> None:
    async with (
        origin() as target,
        origin(redirect=target.url("other")) as first,
        forward_site(rule(first.url(f"live/{KEY}?x=1"))) as site,
        filming(Camera(site.hub)),
    ):
        await site.until(lambda: len(target.media) > 10)
        assert target.connects[0].app == "other"
        assert target.publishes[0].name == f"{KEY}?x=1"
        assert site.row()["url"] == f"rtmp://127.0.0.1:{first.port}/live/***"


async def test_redirect_may_name_the_stream() -> None:
    async with (
        origin() as target,
        origin(redirect=target.url("other/named?t=1")) as first,
        forward_site(rule(first.url())) as site,
        filming(Camera(site.hub)),
    ):
        await site.until(lambda: target.publishes)
        assert target.publishes[0].name == "named?t=1"


@pytest.mark.parametrize(
    ("redirect", "words"),
    [
        ("http://169.254.169.254/latest/", "no RTMP address"),
        ("file:///etc/passwd", "no RTMP address"),
        ("rtmp://u:p@h/live/x", "no RTMP address"),
        ("x" * 900, "no RTMP address"),
    ],
)
async def test_redirect_to_what_is_no_rtmp_is_refused(redirect: str, words: str) -> None:
    async with (
        origin(redirect=redirect) as there,
        forward_site(rule(there.url())) as site,
        filming(Camera(site.hub)),
    ):
        await site.until_error(words)


async def test_redirect_of_the_world_to_this_device_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    distances = {"127.0.0.1": Distance.WORLD, "127.0.0.2": Distance.DEVICE}
    monkeypatch.setattr(horizon, "distance", distances.__getitem__)
    async with origin(host="127.0.0.2") as near:
        redirect = near.url("other").replace("127.0.0.1", "127.0.0.2")
        async with (
            origin(redirect=redirect) as there,
            forward_site(rule(there.url())) as site,
            filming(Camera(site.hub)),
        ):
            await site.until_error("nearer to us than who redirects")
            assert near.connections and not near.connects


async def test_redirects_in_a_circle_end() -> None:
    async with origin() as there:
        there.redirect = there.url("live")
        async with forward_site(rule(there.url())) as site, filming(Camera(site.hub)):
            await site.until_error("more than 3 times")
            assert there.connections == 4


async def test_device_itself_is_no_destination() -> None:
    async with origin() as there, forward_site(rule(there.url("live/copy"))) as site:
        site.context.listening["rtmp"] = (f"[::]:{there.port}",)
        async with filming(Camera(site.hub)):
            await site.until_error("the device itself")
            assert not there.publishes


async def test_device_itself_may_have_the_stream_under_a_name_that_no_rule_matches() -> None:
    async with origin() as there, forward_site(rule(there.url("copies/{stream}"))) as site:
        site.context.listening["rtmp"] = (f"[::]:{there.port}",)
        async with filming(Camera(site.hub)):
            await site.until_state("live")


async def test_several_destinations_do_not_wait_for_each_other() -> None:
    async with origin() as there, origin(mute=True) as mute:
        to = (mute.url(), f"rtmp://127.0.0.1:{free_port()}/a/b", there.url())
        async with forward_site(rule(*to)) as site, filming(Camera(site.hub)):
            await site.until(lambda: len(there.media) > 10)
            assert [row["state"] for row in site.service.report()][::2] == ["connecting", "live"]


async def test_destination_that_never_reads_is_left_and_nobody_else_notices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(publication, "LIMITS", replace(publication.LIMITS, stall_s=1.0))
    async with origin(deaf=True) as there, forward_site(rule(there.url(), **SHORT)) as site:
        stream = site.hub.declare(NAME)
        seen: list[AccessUnit] = []

        async def watch() -> None:
            async for batch in stream.subscribe(Start.NEXT_KEY):
                seen.extend(batch)

        viewer = asyncio.create_task(watch())
        async with filming(Camera(site.hub, "h264", speed=4, padding_bytes=100_000)) as camera:
            await site.until(lambda: site.row()["state"] == "live" and site.row()["lag_ms"] > 500)
            await site.until_error("stopped reading")
            there.deaf = False
            await site.until(lambda: len(there.publishes) == 2 and site.row()["dropped_units"])
            assert site.row()["bytes"] < sum(unit.size_bytes for unit in camera.units)
            await site.until(lambda: seen and seen[-1] is camera.units[-1])
            assert len(seen) == len(camera.units)
        viewer.cancel()


async def test_slow_destination_is_brought_to_the_newest_keyframe() -> None:
    """The dropped are counted, what arrives goes on from a keyframe, and stamps never go back."""
    async with (
        origin(pause_s=0.02) as there,
        forward_site(rule(there.url(), **SHORT)) as site,
        filming(Camera(site.hub, "h264", speed=4, padding_bytes=100_000)),
    ):
        await site.until(lambda: site.row()["dropped_units"])
        there.pause_s = 0.0

        def jumps() -> list[Message]:
            video = [m for m in there.media if m.payload[:2] in {b"\x17\x01", b"\x27\x01"}]
            stamps = [message.timestamp_ms for message in video]
            assert stamps == sorted(stamps)
            pairs = zip(video, video[1:], strict=False)
            return [two for one, two in pairs if two.timestamp_ms - one.timestamp_ms > 100]

        await site.until(jumps)
        assert all(message.payload[0] == 0x17 for message in jumps())


async def test_keyframe_is_asked_for_if_none_is_held() -> None:
    """Of a publisher who has told its tracks and shown nothing yet."""
    async with origin() as there, forward_site(rule(there.url())) as site:
        asked = asyncio.Event()
        async with site.hub.publish(NAME, "test#1") as publisher:
            publisher.on_keyframe_request = asked.set
            publisher.describe(clip_units("h264")[0])
            await asked.wait()


async def test_new_parameter_sets_are_told_in_their_place() -> None:
    async with origin() as there, forward_site(rule(there.url())) as site:
        async with site.hub.publish(NAME, "test#1") as publisher:
            tracks, units = clip_units("h264")
            publisher.describe(tracks)
            for unit in units[:5]:
                publisher.write(unit)
            await site.until(lambda: len(there.media) >= 7)
            tracks, units = clip_units("h264-small")
            publisher.describe(tracks)
            for unit in units[:5]:
                publisher.write(unit)
            await site.until(lambda: len(there.media) >= 14)
        video = [m.payload[:2] for m in there.media if m.kind == MessageType.VIDEO]
        assert video.count(b"\x17\x00") == 2
        second = len(video) - video[::-1].index(b"\x17\x00") - 1
        assert video[second + 1] == b"\x17\x01" and len(video) - second == 6
        data = [decode(m.payload)[2] for m in there.media if m.kind == MessageType.DATA]
        assert [about["width"] for about in data] == [192, 160]


async def test_slate_is_forwarded_and_its_end_is_none_for_the_destination() -> None:
    async with origin() as there, forward_site(rule(there.url())) as site:
        async with site.hub.publish(NAME, "slate", placeholder="off") as slate:
            tracks, units = clip_units("h264")
            slate.describe(tracks)
            slate.write(units[0])
            await site.until(lambda: len(there.media) >= 3)
        async with filming(Camera(site.hub, "h264")):
            await site.until(lambda: len(there.media) > 20)
        assert there.connections == 1 and site.row()["attempts"] == 1


async def test_configured_stream_is_wanted_for_as_long_as_it_is_forwarded() -> None:
    async with origin() as there, forward_site(rule(there.url())) as site:
        stream = site.hub.declare(NAME)
        await stream.demand.wait_wanted()
        site.service.reload((), ())
        await stream.demand.wait_idle(0)


async def test_reload_ends_and_begins_and_leaves_the_rest_alone() -> None:
    async with origin() as kept, origin() as gone, origin() as new:
        first, second, third = (rule(there.url()) for there in (kept, gone, new))
        async with forward_site(first, second) as site, filming(Camera(site.hub)):
            await site.until(lambda: kept.media and gone.media)
            assert site.service.reload((first, third), ()) == []
            await site.until(lambda: new.media and gone.stops)
            assert kept.connections == 1 and not kept.stops
            await site.until(lambda: len(site.service.report()) == 2)


async def test_stopping_says_goodbye() -> None:
    async with (
        origin() as there,
        forward_site(rule(there.url())) as site,
        filming(Camera(site.hub)),
    ):
        await site.until_state("live")
        await site.service.stop()
        await site.until(lambda: there.stops)


def certificate(folder: Path) -> tuple[Path, Path]:
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    subprocess.run(
        [*command.split(), "-keyout", key, "-out", cert, "-subj", "/CN=origin",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


async def test_tls_of_a_stranger_is_refused_and_with_its_authority_taken(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    async with origin(tls=context) as there:
        to = there.url(scheme="rtmps")
        rules = (
            rule(to),
            Rule(to=(to,), tls=TlsOptions(ca=str(cert))),
            Rule(to=(to,), tls=TlsOptions(insecure=True)),
        )
        async with forward_site(*rules) as site, filming(Camera(site.hub)):
            await site.until(lambda: len(there.publishes) == 2 and len(there.media) > 20)
            await site.until_error("certificate verify failed")
            assert site.context.faults.counts["forward", "tls"] >= 1
            assert [row["state"] for row in site.service.report()][1:] == ["live", "live"]


async def test_redirect_out_of_tls_is_refused(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    async with origin() as plain, origin(tls=context, redirect=plain.url("live")) as there:
        to = Rule(to=(there.url(scheme="rtmps"),), tls=TlsOptions(insecure=True))
        async with forward_site(to) as site, filming(Camera(site.hub)):
            await site.until_error("without TLS")
            assert not plain.connections


async def test_keys_are_never_told(caplog: pytest.LogCaptureFixture) -> None:
    """Not even when the destination repeats them in its refusal."""
    caplog.set_level(logging.DEBUG)
    words = f"{KEY} is taken, so is a%2Fb+{KEY} and also q-S3cret"
    async with (
        origin(refuse="NetStream.Publish.BadName", words=words) as there,
        origin() as good,
        forward_site(
            rule(there.url(f"live/{KEY}?token=q-S3cret&x={KEY}")), rule(good.url(f"a/b/{KEY}"))
        ) as site,
        filming(Camera(site.hub)),
    ):
        await site.until_error("is taken")
        await site.until_state("live", 1)
        shown = str(site.service.report()) + caplog.text + str(site.context.faults.counts)
        assert "forward live/cam to 127.0.0.1:" in caplog.text
        assert KEY not in shown and "q-S3cret" not in shown and "/b/" not in shown
        assert KEY not in repr(vars(site.service)) and KEY not in repr(site.context)


async def test_destinations_on_one_server_are_told_apart_without_their_keys() -> None:
    async with origin() as there:
        server = f"127.0.0.1:{there.port}"
        urls = [there.url(f"live/{KEY}-{number}") for number in range(3)]
        asked = rule(there.url(f"cams/{KEY}"), stream=NAME)
        async with (
            forward_site(rule(urls[0], urls[1]), rule(urls[2]), asked) as site,
            filming(Camera(site.hub)),
            filming(Camera(site.hub, name="live/b")),
        ):
            await site.until(lambda: len(there.publishes) == 7)
            rows = [(row["stream"], row["name"]) for row in site.service.report()]
            names = [f"{server}/live", f"{server}/live #2", f"{server}/live #3"]
            assert rows == [
                *(("live/b", name) for name in names),
                *((NAME, name) for name in (*names, f"{server}/cams")),
            ]


async def test_fail_over_goes_on_to_the_next_destination_and_waits_only_after_all() -> None:
    async with (
        origin(refuse="NetStream.Publish.BadName") as first,
        origin() as second,
        origin(refuse="NetStream.Publish.BadName") as third,
        forward_site(rule(first.url(), second.url(), third.url(), fail_over=True)) as site,
        filming(Camera(site.hub)),
    ):
        await site.until(lambda: len(second.media) > 10)
        assert not third.connections
        (row,) = site.service.report()
        assert row["state"] == "live" and row["attempts"] == 2
        assert row["url"] == f"rtmp://127.0.0.1:{second.port}/live/***"
        assert row["name"].count("127.0.0.1:") == 3
        for writer in list(second.writers):
            writer.transport.abort()
        await site.until(lambda: len(second.publishes) == 2 and len(second.media) > 10)
        assert (len(first.publishes), len(third.publishes)) == (2, 1), "each had its turn"


async def test_fail_over_spreads_streams_over_the_destinations() -> None:
    async with (
        origin() as one,
        origin() as two,
        forward_site(rule(one.url("a/{stream}"), two.url("a/{stream}"), fail_over=True)) as site,
        filming(Camera(site.hub)),
        filming(Camera(site.hub, name="live/b")),
    ):
        await site.until(lambda: one.media and two.media)
        assert (len(one.publishes), len(two.publishes)) == (1, 1)


async def test_fail_over_from_a_destination_that_says_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    short = replace(publication.SHORT_LIMITS, deadline_s=0.2)
    monkeypatch.setattr(publication, "SHORT_LIMITS", short)
    async with (
        origin(mute=True) as one,
        origin() as two,
        forward_site(rule(one.url(), two.url(), fail_over=True)) as site,
        filming(Camera(site.hub)),
    ):
        await site.until(lambda: two.media)
        assert one.connections
