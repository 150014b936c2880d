"""ICE fragments: late candidates, restarts, and our answer to one."""

from __future__ import annotations

import pytest
from mutation import assert_only_peer_error

from appliance.errors import PeerError
from appliance.wire.ice.candidate import host_candidates
from appliance.wire.ice.credentials import Credentials
from appliance.wire.sdp.ice_fragment import MAX_BYTES, format_fragment, parse_fragment

# In the manner of RFC 9725 §4.3.2
TRICKLE = """a=group:BUNDLE 0 1
a=ice-ufrag:EsAw
a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1
m=audio 9 UDP/TLS/RTP/SAVPF 111
a=mid:0
a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0
a=candidate:3471623853 1 udp 2122194687 0f1e.local 61765 typ host generation 0
a=candidate:473322822 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active generation 0
a=candidate:nonsense
a=end-of-candidates
"""


def test_fragment_of_a_browser_is_read() -> None:
    found = parse_fragment(TRICKLE.replace("\n", "\r\n").encode())
    assert found.credentials == Credentials("EsAw", "P2uYro0UCOQ4zxjKXaWCBui1")
    assert [(c.address, c.tcp_type) for c in found.candidates] == [
        ("192.0.2.1", ""),
        ("0f1e.local", ""),
        ("192.0.2.1", "active"),
    ]
    assert found.is_complete


def test_fragment_may_have_candidates_alone() -> None:
    text = "m=audio 9 UDP/TLS/RTP/SAVPF 0\na=mid:0\na=candidate:1 1 udp 1 192.0.2.1 1 typ host\n"
    found = parse_fragment(text)
    assert found.credentials is None
    assert len(found.candidates) == 1
    assert not found.is_complete


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        "a=ice-ufrag:EsAw\n",
        "a=ice-ufrag:EsAw\na=ice-pwd:short\n",
        "a=mid:0\n" * (MAX_BYTES // 8 + 1),
    ],
)
def test_damaged_fragment_is_refused(text: str) -> None:
    with pytest.raises(PeerError):
        parse_fragment(text)


def test_our_answer_to_a_restart_is_a_fragment() -> None:
    ours = Credentials("ourF", "ourPassword0123456789ab")
    made = format_fragment(ours, host_candidates(["192.0.2.1"], 8000, 8000), kind="video", mid="0")
    found = parse_fragment(made)
    assert found.credentials == ours
    assert found.candidates == host_candidates(["192.0.2.1"], 8000, 8000)
    assert found.is_complete
    assert made.startswith(b"a=ice-lite\r\n") and b"\r\na=mid:0\r\n" in made


def test_fragments_survive_mutants() -> None:
    assert_only_peer_error(parse_fragment, [TRICKLE.encode()], 2000)
