"""What is remembered of a camera from one connection to the next."""

from __future__ import annotations

from appliance.media.track import Kind
from appliance.services.pull.rtsp_notes import FORGIVEN_FAULTS, Notes, Way


def test_ways_of_auto_begin_with_tcp_and_then_with_what_was_good() -> None:
    notes = Notes()
    assert notes.ways("auto", is_tls=False) == (Way.TCP, Way.UDP)
    notes.good = Way.UDP
    assert notes.ways("auto", is_tls=False) == (Way.UDP, Way.TCP)


def test_ways_of_auto_take_turns_while_none_is_good() -> None:
    """An attempt may end by its deadline before the second way has its turn."""
    notes = Notes(tried=Way.TCP)
    assert notes.ways("auto", is_tls=False) == (Way.UDP, Way.TCP)
    notes.tried = Way.UDP
    assert notes.ways("auto", is_tls=False) == (Way.TCP, Way.UDP)


def test_ways_are_one_if_it_is_configured_or_the_camera_is_asked_by_tls() -> None:
    assert Notes(good=Way.TCP).ways("multicast", is_tls=False) == (Way.MULTICAST,)
    assert Notes(good=Way.UDP).ways("auto", is_tls=True) == (Way.TCP,)


def test_faults_are_forgiven_of_sound_alone() -> None:
    notes = Notes()
    for _ in range(FORGIVEN_FAULTS):
        assert not notes.is_forgiven(Kind.AUDIO)
        notes.faults[Kind.AUDIO] += 1
        notes.faults[Kind.VIDEO] += 1
    assert notes.is_forgiven(Kind.AUDIO)
    assert not notes.is_forgiven(Kind.VIDEO)
