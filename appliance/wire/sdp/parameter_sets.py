"""H.264's and HEVC's parameter sets in format parameters (RFC 6184 §8.1, RFC 7798 §7.1)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping

from appliance.errors import PeerError
from appliance.media import h264, h265
from appliance.media.nal import split_annexb
from appliance.media.unit import Buffer

MAX_SETS = 64  # in one description; cameras give two or three


def h264_config(fmtp: Mapping[str, str]) -> h264.H264Config | None:
    """None if the sets are missing, damaged or incomplete: they will come in band."""
    try:
        nals = list(_nals(fmtp.get("sprop-parameter-sets", "")))
        return h264.ParameterSets(None).update(h264.split_parameter_sets(nals))
    except PeerError:
        return None


def h265_config(fmtp: Mapping[str, str]) -> h265.H265Config | None:
    """None if the sets are missing, damaged or incomplete: they will come in band."""
    text = ",".join(fmtp.get(f"sprop-{name}", "") for name in ("vps", "sps", "pps"))
    try:
        return h265.ParameterSets(None).update(h265.split_parameter_sets(list(_nals(text))))
    except PeerError:
        return None


def _nals(text: str) -> Iterator[Buffer]:
    """Cameras leave a comma at the end, the padding out, or Annex B start codes in."""
    for word in text.split(",")[:MAX_SETS]:
        word = word.strip().rstrip("=")
        try:
            nal = base64.b64decode(word + "=" * (-len(word) % 4))
        except (binascii.Error, ValueError):
            raise PeerError("a parameter set that is not Base64") from None
        if nal.startswith((b"\0\0\1", b"\0\0\0\1")):
            yield from split_annexb(nal)
        elif nal:
            yield nal


def h264_fmtp(config: h264.H264Config) -> str:
    profile = bytes((config.profile_idc, config.constraint_flags, config.level_idc)).hex().upper()
    sets = _base64((*config.sps, *config.pps))
    return f"packetization-mode=1;profile-level-id={profile};sprop-parameter-sets={sets}"


def h265_fmtp(config: h265.H265Config) -> str:
    named = (("vps", config.vps), ("sps", config.sps), ("pps", config.pps))
    return ";".join(f"sprop-{name}={_base64(nals)}" for name, nals in named)


def _base64(nals: Iterable[bytes]) -> str:
    return ",".join(base64.b64encode(nal).decode("ascii") for nal in nals)
