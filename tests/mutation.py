"""Seeded mutation of a kept corpus: whatever a parser is fed, only PeerError may escape it.

Corpora are folders of small files, tests/corpus/<name>/*.bin.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from appliance.errors import PeerError

CORPUS = Path(__file__).parent / "corpus"
MAX_MUTANT_BYTES = 65_536
MAX_PARSE_S = 2.0  # against loops that a count drives; far above any fair run on a busy machine

# What breaks parsers: ends of ranges, lengths that pass the end, escapes, start codes
INTERESTING = (
    *(b"\x00 \x01 \x7f \x80 \xff".split()),
    *(b"\x00\x00|\xff\xff|\x7f\xff|\x80\x00|\x00\x01".split(b"|")),
    *(b"\x00\x00\x00\x00|\xff\xff\xff\xff|\x7f\xff\xff\xff|\x80\x00\x00\x00".split(b"|")),
    *(b"\x00\x00\x01|\x00\x00\x00\x01|\x00\x00\x03|\x00\x00\x03\x00\x00\x03".split(b"|")),
)


def corpus(name: str) -> list[bytes]:
    """The files of one corpus, in a fixed order; there is at least one."""
    seeds = [path.read_bytes() for path in sorted((CORPUS / name).glob("*.bin"))]
    assert seeds, f"no corpus {name}"
    return seeds


def mutations(seed_corpus: Sequence[bytes], count: int, seed: int = 1) -> Iterator[bytes]:
    """`count` damaged forms of the corpus, always the same for the same seed.

    The corpus itself comes first, then each file cut at every byte (of short files), then random
    mutants: one to eight edits each, sometimes with a second file spliced in.
    """
    return itertools.islice(
        itertools.chain(
            seed_corpus, _truncated(seed_corpus, count // 2), _random(seed_corpus, seed)
        ),
        count,
    )


def _truncated(seed_corpus: Sequence[bytes], most: int) -> Iterator[bytes]:
    cuts = ((data, end) for data in seed_corpus for end in range(min(len(data), 256)))
    return (data[:end] for data, end in itertools.islice(cuts, most))


def _random(seed_corpus: Sequence[bytes], seed: int) -> Iterator[bytes]:
    rng = random.Random(seed)
    while True:
        data = bytearray(rng.choice(seed_corpus))
        for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5, 8))):
            _edit(data, seed_corpus, rng)
        yield bytes(data[:MAX_MUTANT_BYTES])


def _edit(data: bytearray, seed_corpus: Sequence[bytes], rng: random.Random) -> None:
    at = rng.randrange(len(data) + 1)
    size = rng.choice((1, 1, 2, 4, 16, 64))
    match rng.randrange(8):
        case 0 | 1 if at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        case 2 if at < len(data):
            data[at] = rng.randrange(256)
        case 3:
            value = rng.choice(INTERESTING)
            data[at : at + len(value)] = value
        case 4:
            data[at:at] = rng.choice(INTERESTING) * rng.choice((1, 1, 4, 64))
        case 5:
            del data[at : at + size]
        case 6:
            data[at:at] = data[at : at + size] * rng.choice((1, 2, 8))
        case _:
            other = rng.choice(seed_corpus)
            data[at:] = other[rng.randrange(len(other) + 1) :]


def assert_only_peer_error(
    parse: Callable[[bytes], Any], seed_corpus: Sequence[bytes], count: int = 2000, seed: int = 1
) -> None:
    """Feed `count` mutants to `parse`; it returns, or raises PeerError, and soon."""
    for number, mutant in enumerate(mutations(seed_corpus, count, seed)):
        started_s = time.process_time()
        try:
            parse(mutant)
        except PeerError:
            pass
        except Exception as error:
            raise AssertionError(
                f"mutant {number} of seed {seed}: {error!r} from {mutant[:256].hex()}"
            ) from error
        took_s = time.process_time() - started_s
        assert took_s < MAX_PARSE_S, f"mutant {number}: {took_s:.1f} s for {mutant[:256].hex()}"
