from __future__ import annotations

import itertools

import pytest
from mutation import MAX_MUTANT_BYTES, assert_only_peer_error, mutations

from appliance.errors import PeerError

SEEDS = [b"first file", bytes(range(40))]


def test_mutations_are_the_same_for_the_same_seed() -> None:
    first, again = (list(mutations(SEEDS, 500, seed=3)) for _ in range(2))
    assert first == again
    assert len(first) == 500
    assert list(mutations(SEEDS, 500, seed=4)) != first


def test_mutations_begin_with_the_corpus_and_its_truncations() -> None:
    mutants = list(itertools.islice(mutations(SEEDS, 1000), 60))
    assert mutants[:2] == SEEDS
    assert mutants[2:12] == [SEEDS[0][:end] for end in range(10)]


def test_mutations_are_varied_and_bounded() -> None:
    mutants = list(mutations(SEEDS, 3000))
    assert len(set(mutants)) > 2000
    assert max(map(len, mutants)) <= MAX_MUTANT_BYTES
    assert max(map(len, mutants)) > 100


def test_assertion_lets_peer_errors_pass() -> None:
    def parse(data: bytes) -> None:
        if data != SEEDS[0]:
            raise PeerError("no")

    assert_only_peer_error(parse, SEEDS, 200)


@pytest.mark.parametrize("error", [IndexError, ValueError, RecursionError, MemoryError, KeyError])
def test_assertion_catches_everything_else(error: type[Exception]) -> None:
    def parse(data: bytes) -> None:
        if b"\xff\xff" in data:
            raise error("leaked")

    with pytest.raises(AssertionError, match=f"seed 1: {error.__name__}"):
        assert_only_peer_error(parse, SEEDS, 2000)
