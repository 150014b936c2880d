"""The ICE-lite agents of one port: who is answered, where media go, when it is over."""

from __future__ import annotations

import random

import pytest
from ice_peer import HERE, OURS, THERE, check, request
from mutation import assert_only_peer_error

from appliance.errors import LimitExceeded, MisuseError, PeerError
from appliance.wire.ice.agent import (
    CONSENT_US,
    FIRST_CHECK_US,
    MAX_PATHS,
    MAX_STRANGE_CHECKS,
    NOMINATION_US,
    SILENCE_US,
    IceAgent,
    IceState,
    Remote,
)
from appliance.wire.ice.credentials import ENTROPY_BYTES, Credentials, make_credentials
from appliance.wire.ice.directory import MAX_PENDING, IceDirectory
from appliance.wire.ice.stun import AttributeType, MessageClass, StunMessage, parse

OTHERS = Credentials("othr", "anotherPassword012345678")
SECOND_US = 1_000_000


def one_agent() -> tuple[IceDirectory, IceAgent]:
    directory = IceDirectory()
    return directory, directory.add(OURS, 0)


def connected() -> tuple[IceDirectory, IceAgent]:
    directory, agent = one_agent()
    directory.receive(check(nominating=True), HERE, 0)
    return directory, agent


def selected(agent: IceAgent) -> Remote | None:
    return agent.selected and agent.selected.remote


def test_check_is_answered_with_the_address_it_came_from() -> None:
    directory, agent = one_agent()
    asked = check()
    checked = directory.receive(asked, HERE, 0)
    assert checked is not None and checked.agent is agent and not checked.is_moved
    answer = parse(checked.answer)
    assert answer.message_class is MessageClass.SUCCESS
    assert answer.transaction_id == asked[8:20]
    assert answer.mapped_address == (HERE.host, HERE.port)
    assert answer.is_signed_by(OURS.key)
    assert agent.state is IceState.CHECKING
    assert agent.selected is None
    assert agent.target == HERE
    assert directory.agent_of(HERE) is directory.agent_of((*HERE,)) is agent


def test_path_that_is_named_gets_the_media() -> None:
    directory, agent = one_agent()
    checked = directory.receive(check(nominating=True), HERE, 0)
    assert checked is not None and checked.is_moved
    assert agent.state is IceState.CONNECTED
    assert selected(agent) == HERE
    again = directory.receive(check(nominating=True), HERE, 1)
    assert again is not None and not again.is_moved


def test_media_stay_until_another_path_is_named() -> None:
    directory, agent = connected()
    checked = directory.receive(check(), THERE, 1)
    assert checked is not None and not checked.is_moved
    assert selected(agent) == agent.target == HERE
    moved = directory.receive(check(nominating=True, priority=1), THERE, 2)
    assert moved is not None and moved.is_moved
    assert selected(agent) == THERE
    # and later back
    directory.receive(check(), HERE, 3)
    directory.receive(check(nominating=True, priority=1), HERE, 4)
    assert selected(agent) == HERE


def test_peer_that_names_every_path_gets_the_best_and_keeps_it() -> None:
    directory, agent = one_agent()
    seen = []
    for turn in range(6):
        for priority, remote in ((2, HERE), (1, THERE)):
            directory.receive(check(nominating=True, priority=priority), remote, turn)
            seen.append(selected(agent))
    assert set(seen[2:]) == {HERE}


def test_path_named_again_and_again_replaces_a_silent_one() -> None:
    directory, agent = one_agent()
    for now_us in range(0, SILENCE_US + 3 * SECOND_US, SECOND_US):
        directory.receive(check(nominating=True, priority=1), THERE, now_us)
        if not now_us:
            directory.receive(check(nominating=True, priority=2), HERE, now_us)
            assert selected(agent) == HERE
    assert selected(agent) == THERE


@pytest.mark.parametrize(
    "packet",
    [
        check(OTHERS),  # nobody's fragment
        request().pack(),  # not signed
        request().pack(b"wrong password"),
        request(username="").pack(OURS.key),
        request(username="ourFx:theirs").pack(OURS.key),
        StunMessage(MessageClass.SUCCESS, bytes(12)).pack(OURS.key),
        StunMessage(MessageClass.INDICATION, bytes(12)).pack(OURS.key),
        StunMessage(MessageClass.REQUEST, bytes(12)).pack(OURS.key),
        StunMessage(MessageClass.REQUEST, bytes(12), method=3).pack(OURS.key),  # TURN's Allocate
        bytes.fromhex("000100042112a442") + bytes(12) + bytes.fromhex("00240000"),
        b"\x00\x01",
    ],
)
def test_stranger_gets_no_answer_and_leaves_no_trace(packet: bytes) -> None:
    directory, agent = one_agent()
    assert directory.receive(packet, HERE, 0) is None
    assert directory.agent_of(HERE) is None
    assert agent.state is IceState.NEW and not agent.paths and agent.target is None
    counters = directory.counters
    assert counters.answered == 0
    assert counters.damaged + counters.unasked + counters.unknown + counters.refused == 1


def test_altered_check_leaves_the_session_as_it_was() -> None:
    directory, agent = connected()
    good = check(nominating=True)
    for position in range(len(good) - 8):  # up to the fingerprint, that nobody signed
        altered = good[:position] + bytes((good[position] ^ 0x40,)) + good[position + 1 :]
        assert directory.receive(altered, THERE, position * SECOND_US // 50) is None
    assert selected(agent) == HERE
    assert list(agent.paths) == [HERE]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (request(role=AttributeType.ICE_CONTROLLED), 487),
        (request(priority=None), 400),
        (request(role=None), 400),
    ],
)
def test_signed_check_that_is_wrong_is_told_so(message: StunMessage, code: int) -> None:
    directory, agent = one_agent()
    packet = message.pack(OURS.key)
    checked = directory.receive(packet, HERE, 0)
    assert checked is not None
    answer = parse(checked.answer)
    assert answer.message_class is MessageClass.ERROR
    assert answer.error_code == code
    assert answer.is_signed_by(OURS.key)
    assert directory.agent_of(HERE) is None and not agent.paths
    assert agent.refused == 1


def test_check_with_what_must_be_understood_is_told_what_is_not() -> None:
    directory, _ = one_agent()
    message = request()
    for kind in (0x7001, 0x7002):
        message.attributes.insert(0, type(message.attributes[0])(kind, b"abcd"))
    checked = directory.receive(message.pack(OURS.key), HERE, 0)
    assert checked is not None
    answer = parse(checked.answer)
    assert answer.error_code == 420
    assert answer.value(AttributeType.UNKNOWN_ATTRIBUTES) == bytes.fromhex("70027001")


def test_answer_is_never_longer_than_the_question() -> None:
    directory, _ = one_agent()
    unknown = request()
    unknown.attributes += [type(unknown.attributes[0])(kind, b"") for kind in range(0x7000, 0x7010)]
    messages = [
        request(),
        request(role=AttributeType.ICE_CONTROLLED),
        request(priority=None),
        unknown,
    ]
    for remote in (HERE, Remote("2001:db8::1", 1)):
        for message in messages:
            packet = message.pack(OURS.key)
            checked = directory.receive(packet, remote, 0)
            assert checked is not None
            assert len(checked.answer) <= len(packet)


def test_flood_of_one_session_is_bounded_and_its_path_is_heard() -> None:
    directory, agent = connected()
    answers = 0
    for port in range(1, 500):
        answers += directory.receive(check(), Remote("192.0.2.9", port), SECOND_US) is not None
    assert answers == MAX_STRANGE_CHECKS
    assert agent.throttled == 499 - MAX_STRANGE_CHECKS
    assert len(agent.paths) == MAX_PATHS
    assert HERE in agent.paths
    assert directory.receive(check(nominating=True), HERE, SECOND_US) is not None
    reachable = [
        r for r in (Remote("192.0.2.9", p) for p in range(1, 500)) if directory.agent_of(r)
    ]
    assert len(reachable) == MAX_PATHS - 1


def test_flood_of_unknown_fragments_leaves_nothing() -> None:
    directory, _ = connected()
    rng = random.Random(1)
    for _ in range(2000):
        name = f"{rng.getrandbits(40):x}:theirs"
        packet = request(name).pack(OURS.key)
        assert directory.receive(packet, Remote("192.0.2.9", rng.randrange(65_536)), 0) is None
    assert directory.counters.unknown == 2000
    assert len(directory) == 1


def test_peer_that_never_comes_is_over_after_ten_seconds() -> None:
    directory, agent = one_agent()
    assert agent.deadline_us == FIRST_CHECK_US
    assert directory.expire(FIRST_CHECK_US - 1) == []
    assert directory.expire(FIRST_CHECK_US) == [agent]
    assert agent.state is IceState.FAILED
    assert directory.receive(check(), HERE, FIRST_CHECK_US) is None
    assert directory.counters.unknown == 1
    assert len(directory) == 0


def test_peer_that_names_no_path_is_over_in_time() -> None:
    directory, agent = one_agent()
    for now_us in range(0, NOMINATION_US, SECOND_US):
        directory.receive(check(), HERE, now_us)
        assert directory.expire(now_us) == []
    assert directory.expire(NOMINATION_US) == [agent]


def test_consent_ends_thirty_seconds_after_the_last_check() -> None:
    directory, agent = connected()
    directory.receive(check(), HERE, SECOND_US)
    assert agent.deadline_us == SECOND_US + CONSENT_US
    assert directory.expire(SECOND_US + CONSENT_US - 1) == []
    assert directory.expire(SECOND_US + CONSENT_US) == [agent]
    assert directory.agent_of(HERE) is None
    assert agent.selected is None


def test_peer_that_is_heard_otherwise_consents() -> None:
    directory, agent = connected()
    agent.heard(THERE, CONSENT_US - 1)  # no path
    agent.heard(HERE, CONSENT_US - 1)
    assert directory.expire(CONSENT_US) == []
    assert list(agent.paths) == [HERE]
    assert directory.expire(2 * CONSENT_US - 1) == [agent]


def test_path_that_falls_silent_hands_over_to_another_that_was_named() -> None:
    directory, agent = connected()
    directory.receive(check(nominating=True), THERE, SECOND_US)
    directory.receive(check(nominating=True, priority=1), HERE, 5 * SECOND_US)
    assert selected(agent) == THERE
    assert directory.expire(SECOND_US + CONSENT_US) == []
    assert selected(agent) == HERE
    assert directory.agent_of(THERE) is None


def test_connection_that_closes_is_no_path_any_more() -> None:
    directory, agent = one_agent()
    wire = Remote(HERE.host, HERE.port, is_tcp=True)
    directory.receive(check(), wire, 0)
    directory.receive(check(nominating=True), wire, 2 * FIRST_CHECK_US)
    assert directory.agent_of(HERE) is None
    assert directory.forget(wire) is agent
    assert agent.selected is None and agent.state is IceState.CHECKING
    late_us = 2 * FIRST_CHECK_US + SECOND_US
    assert directory.expire(late_us) == []  # it may come back
    directory.receive(check(nominating=True), wire._replace(port=1), late_us)
    assert agent.state is IceState.CONNECTED
    assert directory.forget(wire) is None


def test_address_of_another_session_cannot_be_taken() -> None:
    directory, agent = connected()
    thief = directory.add(OTHERS, 0)
    assert directory.receive(check(OTHERS, nominating=True), HERE, 1) is None
    assert directory.counters.foreign == 1
    assert directory.agent_of(HERE) is agent
    # one whose peer has been silent is somebody else's: the same port after a restart
    late_us = SILENCE_US + 1
    assert directory.receive(check(OTHERS, nominating=True), HERE, late_us) is not None
    assert directory.agent_of(HERE) is thief
    assert agent.selected is None
    directory.remove(agent)
    assert directory.agent_of(HERE) is thief


def test_restart_moves_over_when_the_peer_names_a_path_with_the_new_credentials() -> None:
    directory, agent = connected()
    fresh = Credentials("frsh", "freshPassword0123456789")
    directory.restart(agent, fresh)
    assert selected(agent) == HERE
    assert directory.receive(check(nominating=True), HERE, 1) is not None, "old ones still hold"
    checked = directory.receive(check(fresh, priority=1), THERE, 2)
    assert checked is not None
    assert parse(checked.answer).is_signed_by(fresh.key)
    assert selected(agent) == HERE
    directory.receive(check(fresh, nominating=True, priority=1), THERE, 3)
    assert selected(agent) == THERE
    assert directory.receive(check(nominating=True), HERE, 4) is None, "old ones are over"
    assert directory.counters.unknown == 1
    directory.remove(agent)
    assert directory.agent_of(THERE) is directory.agent_of(HERE) is None
    assert directory.receive(check(fresh), THERE, 5) is None


def test_restart_moves_to_a_path_that_was_named_before() -> None:
    directory, agent = connected()
    directory.receive(check(nominating=True, priority=1), THERE, 1)
    directory.receive(check(nominating=True, priority=2), HERE, 2)
    assert selected(agent) == HERE
    fresh = Credentials("frsh", "freshPassword0123456789")
    directory.restart(agent, fresh)
    directory.receive(check(fresh, nominating=True, priority=1), THERE, 3)
    assert selected(agent) == THERE


def test_second_restart_forgets_the_credentials_that_nobody_used() -> None:
    directory, agent = connected()
    fresh = [Credentials(f"frs{n}", "freshPassword0123456789") for n in range(3)]
    for each in fresh:
        directory.restart(agent, each)
    assert directory.receive(check(fresh[0]), HERE, 1) is None
    assert directory.receive(check(fresh[1]), HERE, 1) is None
    assert directory.receive(check(), HERE, 1) is not None
    assert directory.receive(check(fresh[2], nominating=True), HERE, 1) is not None
    assert agent.former is None


def test_sessions_that_wait_for_their_peers_are_bounded() -> None:
    directory = IceDirectory()
    waiting = [Credentials(f"wait{n}", OURS.password) for n in range(MAX_PENDING)]
    for each in waiting:
        directory.add(each, 0)
    with pytest.raises(LimitExceeded):
        directory.add(OURS, 0)
    directory.receive(check(waiting[0], nominating=True), HERE, 0)
    directory.remove(directory.add(OURS, 0))
    directory.add(OURS, 0)
    assert len(directory.expire(FIRST_CHECK_US)) == MAX_PENDING


def test_all_sessions_are_bounded() -> None:
    directory = IceDirectory(max_agents=1)
    agent = directory.add(OURS, 0)
    with pytest.raises(LimitExceeded):
        directory.add(OTHERS, 0)
    directory.remove(agent)
    directory.remove(agent)
    directory.add(OTHERS, 0)


def test_fragment_twice_is_our_mistake() -> None:
    directory, _ = one_agent()
    with pytest.raises(MisuseError):
        directory.add(OURS, 0)
    other = directory.add(OTHERS, 0)
    with pytest.raises(MisuseError):
        directory.restart(other, OURS)


def test_made_credentials_are_long_enough_and_use_all_entropy() -> None:
    made = make_credentials(bytes(range(ENTROPY_BYTES)))
    assert (len(made.ufrag), len(made.password)) == (8, 24)
    others = {make_credentials(bytes(n) + b"\1" + bytes(ENTROPY_BYTES - 1 - n)) for n in range(24)}
    assert len(others) == ENTROPY_BYTES
    assert made.password not in repr(made)
    with pytest.raises(MisuseError):
        make_credentials(b"short")


@pytest.mark.parametrize(
    ("ufrag", "password"),
    [
        ("abc", "p" * 22),
        ("abcd", "p" * 21),
        ("ab:d", "p" * 22),
        ("abcd", "p" * 21 + "\n"),
        ("x" * 257, "p" * 22),
    ],
)
def test_credentials_that_are_malformed_are_refused(ufrag: str, password: str) -> None:
    with pytest.raises(PeerError):
        Credentials(ufrag, password)


def test_directory_survives_mutants_and_its_canary_stays() -> None:
    directory, agent = connected()

    def receive(data: bytes) -> None:
        checked = directory.receive(data, THERE, 0)
        assert checked is None or len(checked.answer) <= len(data) + 4

    seeds = [check(), check(nominating=True), request(role=None).pack(OURS.key)]
    unmarked = [seed[:2] + (len(seed) - 28).to_bytes(2, "big") + seed[4:-8] for seed in seeds]
    assert_only_peer_error(receive, [*seeds, *unmarked], 5000)
    assert directory.receive(check(nominating=True), HERE, 9 * SECOND_US) is not None
    assert directory.agent_of(HERE) is agent
