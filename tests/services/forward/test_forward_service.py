from __future__ import annotations

from forward_site import KEY, Camera, filming, forward_site, origin, rule

from appliance.wire.rtmp.message import MessageType


async def test_stream_is_handed_on_from_its_headers_and_a_keyframe() -> None:
    async with origin() as there, forward_site(rule(there.url())) as site:
        assert site.service.report() == []
        async with filming(Camera(site.hub)):
            await site.until(lambda: len(there.media) > 40)
            assert there.publishes[0].name == KEY
            assert there.connects[0].app == "live"
            row = site.row()
            assert row["state"] == "live" and row["bytes"] > 1000 and row["attempts"] == 1
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
