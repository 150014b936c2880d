"""A linter of HLS playlists: RFC 8216 (and its successor draft) and Apple's authoring rules.

It reads text with its own small parser, never our model, and returns findings as sentences; a good
playlist yields none. What it looks at: one playlist (`lint_media`, `lint_multivariant`), one after
another of the same address (`lint_reload`), and segments against what is said of them
(`lint_segments`, fMP4 and MPEG-TS). Section numbers are RFC 8216's.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from datetime import datetime

from fmp4_reader import find, fragments

MEDIA_TAGS = {
    "EXTM3U", "EXT-X-VERSION", "EXT-X-TARGETDURATION", "EXT-X-MEDIA-SEQUENCE",
    "EXT-X-DISCONTINUITY-SEQUENCE", "EXT-X-INDEPENDENT-SEGMENTS", "EXT-X-MAP", "EXTINF",
    "EXT-X-PROGRAM-DATE-TIME", "EXT-X-DISCONTINUITY", "EXT-X-ENDLIST",
}  # fmt: skip
ONCE = MEDIA_TAGS - {"EXT-X-MAP", "EXTINF", "EXT-X-PROGRAM-DATE-TIME", "EXT-X-DISCONTINUITY"}
BEFORE_SEGMENTS = ONCE - {"EXT-X-ENDLIST"}
ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"\r\n]*"|[^",\s]+)(?:,|\Z)')
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|[+-]\d\d:\d\d)\Z")
RELATIVE_URI = re.compile(r"(?![A-Za-z][A-Za-z0-9+.-]*:)[A-Za-z0-9._~!$&'()*+,;=:@/?%-]+\Z")
CODEC = re.compile(r"(avc1\.[0-9A-F]{6}|hvc1(\.[0-9A-Z]+)+|mp4a\.40\.\d+|opus|Opus)\Z")
CLOCK_HZ = 90_000


@dataclass(slots=True)
class Segment:
    uri: str = ""
    extinf_s: float = -1.0
    date: datetime | None = None
    discontinuity: bool = False
    map_uri: str = ""
    tags: list[str] = field(default_factory=list, compare=False)


@dataclass(slots=True)
class Media:
    """A media playlist as read; values that are missing are -1."""

    target_s: int = -1
    msn: int = -1
    discontinuity_sequence: int = 0
    version: int = 1
    independent: bool = False
    ended: bool = False
    segments: list[Segment] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    def say(self, finding: str) -> None:
        self.findings.append(finding)

    @property
    def duration_s(self) -> float:
        return sum(segment.extinf_s for segment in self.segments)


def attributes(text: str) -> dict[str, str] | None:
    """§4.2; None if the list is malformed or a name is repeated."""
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = ATTRIBUTE.match(text, position)
        if match is None or match[1] in found or text.endswith(","):
            return None
        found[match[1]] = match[2]
        position = match.end()
    return found


def _lint_text(text: str) -> list[str]:
    """§4.1: what holds for the text of every playlist."""
    findings = []
    if not text.startswith("#EXTM3U\n"):
        findings.append("§4.3.1.1 does not begin with #EXTM3U")
    if any(ord(char) < 32 and char != "\n" or ord(char) == 127 for char in text):
        findings.append("§4.1 has control characters")
    if text.startswith("\ufeff"):
        findings.append("§4.1 begins with a byte order mark")
    if not text.endswith("\n"):
        findings.append("the last line has no end")
    if any(line != line.strip() for line in text.split("\n")):
        findings.append("§4.1 a line begins or ends with white space")
    return findings


def read_media(text: str) -> Media:
    """A media playlist with what is wrong about single lines."""
    media = Media(findings=_lint_text(text))
    segment = Segment()
    map_uri = ""
    seen: list[str] = []
    for line in filter(None, text.split("\n")):
        if not line.startswith("#"):
            segment.uri, segment.map_uri = line, map_uri
            media.segments.append(segment)
            segment = Segment()
        elif line.startswith("#EXT"):
            name, _, value = line[1:].partition(":")
            if name in BEFORE_SEGMENTS and (media.segments or segment.tags):
                media.say(f"§4.3.3 {name} after the first segment's tags")
            if name in ONCE and name in seen:
                media.say(f"{name} more than once")
            seen.append(name)
            if name not in MEDIA_TAGS:
                media.say(f"a tag that no media playlist of ours has: {name}")
            map_uri = _read_tag(media, segment, name, value, map_uri)
    if segment.tags:
        media.say("tags without a segment at the end")
    for name in ("EXT-X-TARGETDURATION", "EXT-X-VERSION", "EXT-X-MEDIA-SEQUENCE"):
        if name not in seen:
            media.say(f"{name} is missing")
    return media


def _read_tag(media: Media, segment: Segment, name: str, value: str, map_uri: str) -> str:
    """Takes one tag in; returns the map that is in force."""
    match name:
        case "EXT-X-TARGETDURATION" | "EXT-X-MEDIA-SEQUENCE" | "EXT-X-DISCONTINUITY-SEQUENCE":
            if not re.fullmatch(r"\d{1,19}", value):
                media.say(f"§4.2 {name} is no decimal integer: {value}")
            else:
                attribute = {"EXT-X-TARGETDURATION": "target_s", "EXT-X-MEDIA-SEQUENCE": "msn"}
                setattr(media, attribute.get(name, "discontinuity_sequence"), int(value))
        case "EXT-X-VERSION":
            media.version = int(value)
        case "EXT-X-INDEPENDENT-SEGMENTS":
            media.independent = True
        case "EXT-X-ENDLIST":
            media.ended = True
        case "EXTINF":
            _read_extinf(media, segment, value)
        case "EXT-X-DISCONTINUITY":
            if segment.discontinuity:
                media.say("§4.3.2.3 EXT-X-DISCONTINUITY twice before one segment")
            segment.discontinuity = True
        case "EXT-X-PROGRAM-DATE-TIME":
            if not DATE.match(value):
                media.say(f"§4.3.2.6 a date without milliseconds or time zone: {value}")
            else:
                segment.date = datetime.fromisoformat(value)
        case "EXT-X-MAP":
            map_uri = _read_map(media, value)
    if name in {"EXTINF", "EXT-X-DISCONTINUITY", "EXT-X-PROGRAM-DATE-TIME", "EXT-X-MAP"}:
        segment.tags.append(name)
    return map_uri


def _read_extinf(media: Media, segment: Segment, value: str) -> None:
    if not re.fullmatch(r"\d+\.\d{3,},[^\n]*", value):
        media.say(f"§4.3.2.1 EXTINF is no decimal with milliseconds and a comma: {value}")
        return
    if segment.extinf_s >= 0:
        media.say("§4.3.2.1 two EXTINF for one segment")
    segment.extinf_s = float(value.partition(",")[0])


def _read_map(media: Media, value: str) -> str:
    found = attributes(value)
    uri = (found or {}).get("URI", "")
    if found is None or set(found) - {"URI", "BYTERANGE"} or not uri.startswith('"'):
        media.say(f"§4.3.2.5 malformed EXT-X-MAP: {value}")
    return uri.strip('"')


def lint_media(text: str) -> list[str]:
    """Everything about one media playlist by itself."""
    media = read_media(text)
    if not media.segments:
        media.say("no segment")
    for segment in media.segments:
        _lint_segment_line(media, segment)
    _lint_versions(media)
    _lint_dates(media)
    uris = [segment.uri for segment in media.segments]
    if len(set(uris)) != len(uris):
        media.say("a segment is listed twice")
    if not media.independent:
        media.say("Apple 2.x: EXT-X-INDEPENDENT-SEGMENTS is missing")
    return media.findings


def _lint_segment_line(media: Media, segment: Segment) -> None:
    if not RELATIVE_URI.match(segment.uri):
        media.say(f"RFC 3986 not a relative reference: {segment.uri!r}")
    if segment.extinf_s < 0:
        media.say(f"§4.3.2.1 {segment.uri} has no EXTINF")
    elif segment.extinf_s == 0:
        media.say(f"{segment.uri} lasts no time")
    if int(segment.extinf_s + 0.5) > media.target_s:
        media.say(f"§4.3.3.1 {segment.uri} lasts {segment.extinf_s}, target is {media.target_s}")
    if segment.uri.partition("?")[0].endswith((".m4s", ".mp4")) and not segment.map_uri:
        media.say(f"§3.3 {segment.uri} has no EXT-X-MAP")


def _lint_versions(media: Media) -> None:
    """§7"""
    needed = 3
    if any(segment.map_uri for segment in media.segments):
        needed = 6
    if media.version < needed:
        media.say(f"§7 version {media.version}, {needed} is needed")


def _lint_dates(media: Media) -> None:
    """Apple 8.4: live playlists carry dates; §6.2.1: they go on as the durations say."""
    if media.segments and media.segments[0].date is None:
        media.say("Apple 8.4: the first segment has no EXT-X-PROGRAM-DATE-TIME")
    for one, following in itertools.pairwise(media.segments):
        if one.date is None or following.date is None or following.discontinuity:
            continue
        step_s = (following.date - one.date).total_seconds()
        if abs(step_s - one.extinf_s) > 0.0015:
            media.say(f"{following.uri} is dated {step_s} s after one of {one.extinf_s} s")


def lint_reload(before_text: str, after_text: str) -> list[str]:
    """§6.2.1, §6.2.2: how the playlist of one address may change."""
    before, after = read_media(before_text), read_media(after_text)
    findings: list[str] = []
    if before.ended and before_text != after_text:
        findings.append("§4.3.3.4 a playlist with EXT-X-ENDLIST changed")
    if before.target_s != after.target_s:
        findings.append(f"§6.2.1 target duration {before.target_s} became {after.target_s}")
    if after.msn < before.msn:
        findings.append(f"§6.2.2 media sequence {before.msn} became {after.msn}")
        return findings
    removed = before.segments[: after.msn - before.msn]
    kept = before.segments[len(removed) :]
    for one, other in zip(kept, after.segments, strict=False):
        if one != other:
            findings.append(f"§6.2.1 {one.uri} is told otherwise now")
    if len(after.segments) < len(kept):
        findings.append("§6.2.2 segments left from the end")
    went = sum(segment.discontinuity for segment in removed)
    is_same_life = after.msn <= before.msn + len(before.segments)
    if is_same_life and after.discontinuity_sequence != before.discontinuity_sequence + went:
        findings.append(
            f"§6.2.2 discontinuity sequence {before.discontinuity_sequence} became "
            f"{after.discontinuity_sequence} as {went} left"
        )
    if after.discontinuity_sequence < before.discontinuity_sequence:
        findings.append("§6.2.2 the discontinuity sequence went back")
    if removed and is_same_life and not after.ended and after.duration_s < 3 * after.target_s:
        findings.append(f"§6.2.2 only {after.duration_s:.3f} s are left, target {after.target_s}")
    return findings


def lint_multivariant(text: str, *, segment_bps: list[float] | None = None) -> list[str]:
    """§4.3.4; segment_bps: the bit rates of the segments below, measured."""
    findings = _lint_text(text)
    lines = list(filter(None, text.split("\n")))
    if "#EXT-X-INDEPENDENT-SEGMENTS" not in lines:
        findings.append("Apple: EXT-X-INDEPENDENT-SEGMENTS is missing")
    variants = 0
    for line, following in itertools.zip_longest(lines, lines[1:], fillvalue=""):
        name, _, value = line.partition(":")
        if name == "#EXT-X-STREAM-INF":
            variants += 1
            findings += _lint_variant(value, segment_bps)
            if not RELATIVE_URI.match(following):
                findings.append(f"§4.3.4.2 no URI after EXT-X-STREAM-INF: {following!r}")
        elif name in {"#EXTINF", "#EXT-X-TARGETDURATION", "#EXT-X-MEDIA-SEQUENCE"}:
            findings.append(f"§4.1 {name} in a multivariant playlist")
    if not variants:
        findings.append("no variant")
    return findings


def _lint_variant(value: str, segment_bps: list[float] | None) -> list[str]:
    found = attributes(value)
    if found is None:
        return [f"§4.2 malformed attributes: {value}"]
    findings = []
    peak, average = found.get("BANDWIDTH", ""), found.get("AVERAGE-BANDWIDTH", "")
    if not (peak.isdigit() and average.isdigit()) or not 0 < int(average) <= int(peak):
        findings.append(f"§4.3.4.2 bandwidths {peak} and {average}")
    elif segment_bps is not None:
        findings += _lint_bandwidths(int(peak), int(average), segment_bps)
    codecs = found.get("CODECS", "").strip('"').split(",")
    findings += [f"RFC 6381 codec {codec!r}" for codec in codecs if not CODEC.match(codec)]
    is_video = any(codec[:4] in {"avc1", "hvc1"} for codec in codecs)
    if is_video and not re.fullmatch(r"[1-9]\d*x[1-9]\d*", found.get("RESOLUTION", "")):
        findings.append("Apple 9.x: video without RESOLUTION")
    if is_video and not re.fullmatch(r"\d+\.\d{3}", found.get("FRAME-RATE", "")):
        findings.append("Apple 9.x: video without FRAME-RATE")
    if not is_video and {"RESOLUTION", "FRAME-RATE"} & found.keys():
        findings.append("RESOLUTION or FRAME-RATE without video")
    return findings


def _lint_bandwidths(peak: int, average: int, segment_bps: list[float]) -> list[str]:
    """Apple 9.x: within a tenth of what is measured."""
    measured = max(segment_bps)
    if not measured * 0.99 <= peak <= measured * 1.1:
        return [f"BANDWIDTH {peak}, measured {measured:.0f}"]
    mean = sum(segment_bps) / len(segment_bps)
    return [] if abs(average - mean) <= mean / 10 else [f"AVERAGE {average}, measured {mean:.0f}"]


def lint_segments(text: str, files: dict[str, bytes]) -> list[str]:
    """What the segments hold against what the playlist says of them.

    files: by the names in the playlist.
    """
    media = read_media(text)
    findings: list[str] = []
    starts: list[float] = []
    for segment in media.segments:
        data = files[segment.uri]
        if segment.map_uri:
            start_s, found = _inspect_fmp4(files[segment.map_uri], data)
        else:
            start_s, found = _inspect_ts(data)
        starts.append(start_s)
        findings += [f"{segment.uri}: {finding}" for finding in found]
    for index, (start_s, following_s) in enumerate(itertools.pairwise(starts)):
        one, following = media.segments[index], media.segments[index + 1]
        if not following.discontinuity and abs(following_s - start_s - one.extinf_s) > 0.0015:
            findings.append(f"{one.uri}: {one.extinf_s} s said, {following_s - start_s:.4f} s long")
    return findings


def _inspect_fmp4(init: bytes, data: bytes) -> tuple[float, list[str]]:
    """Where the leading track starts, in seconds, and what is wrong."""
    rates = {}
    leader = 0
    for trak in find(init, b"moov", b"trak"):
        track_id = int.from_bytes(find(trak, b"tkhd")[0][12:16], "big")
        rates[track_id] = int.from_bytes(find(trak, b"mdia", b"mdhd")[0][12:16], "big")
        if find(trak, b"mdia", b"hdlr")[0][8:12] == b"vide" or not leader:
            leader = track_id
    runs = [run for fragment in fragments(data) for run in fragment]
    ours = [run for run in runs if run.track_id == leader]
    if {run.track_id for run in runs} - rates.keys():
        return 0.0, ["a track that the initialisation section does not have"]
    if not ours:
        return 0.0, ["nothing of the leading track"]
    findings = []
    if not ours[0].samples[0].is_sync:
        findings.append("does not start with a key")
    for one, following in itertools.pairwise(ours):
        last = one.samples[-1]
        if following.samples[0].dts != last.dts + last.duration:
            findings.append("decode times have a hole")
    return ours[0].samples[0].dts / rates[leader], findings


def _inspect_ts(data: bytes) -> tuple[float, list[str]]:
    """The first decode time, in seconds, and what is wrong (§3.2: PAT and PMT come first)."""
    if len(data) % 188 or any(data[at] != 0x47 for at in range(0, len(data), 188)):
        return 0.0, ["not whole transport packets"]
    findings = []
    packets = [data[at : at + 188] for at in range(0, len(data), 188)]
    pids = [(packet[1] & 0x1F) << 8 | packet[2] for packet in packets]
    if pids[0] != 0:
        findings.append("§3.2 does not start with a PAT")
    pmt_pid = _pmt_pid(packets[0])
    if pids[1] != pmt_pid:
        findings.append("§3.2 the PMT does not follow")
    announced = _announced_pids(packets[1])
    if missing := announced - set(pids):
        findings.append(f"the PMT announces PIDs that have no packet: {missing}")
    for packet, pid in zip(packets, pids, strict=True):
        if pid == min(announced) and packet[1] & 0x40:
            return _dts(packet) / CLOCK_HZ, findings
    return 0.0, [*findings, "nothing of the leading track"]


def _payload(packet: bytes) -> bytes:
    return packet[5 + packet[4] :] if packet[3] & 0x20 else packet[4:]


def _pmt_pid(packet: bytes) -> int:
    section = _payload(packet)[1:]
    return (section[10] & 0x1F) << 8 | section[11]


def _announced_pids(packet: bytes) -> set[int]:
    section = _payload(packet)[1:]
    end = 3 + ((section[1] & 0x0F) << 8 | section[2]) - 4
    at = 12 + ((section[10] & 0x0F) << 8 | section[11])
    pids = set()
    while at < end:
        pids.add((section[at + 1] & 0x1F) << 8 | section[at + 2])
        at += 5 + ((section[at + 3] & 0x0F) << 8 | section[at + 4])
    return pids


def _dts(packet: bytes) -> int:
    """Of the PES packet that starts here; its PTS if it has no DTS of its own."""
    pes = _payload(packet)
    stamp = pes[14:19] if pes[7] & 0x40 else pes[9:14]
    high, middle, low = (
        stamp[0],
        int.from_bytes(stamp[1:3], "big"),
        int.from_bytes(stamp[3:], "big"),
    )
    return (high >> 1 & 7) << 30 | middle >> 1 << 15 | low >> 1
