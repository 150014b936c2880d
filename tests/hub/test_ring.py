from __future__ import annotations

import random

import pytest
from media_fixture import chunk

from appliance.hub.ring import Ring
from appliance.hub.subscription import Start, Subscription
from appliance.media.unit import Chunk


def ring_of(*keys: int, count: int = 10, max_bytes: int = 10_000, max_us: int = 10**9):
    ring: Ring[Chunk] = Ring(max_bytes=max_bytes, max_duration_us=max_us)
    for i in range(count):
        ring.append(chunk(i * 40_000, key=i in keys))
    return ring


def test_ring_over_its_bytes_evicts_the_oldest_and_keeps_sequence_numbers() -> None:
    ring = ring_of(0, 5, count=15)
    assert (ring.first, ring.next, ring.size_bytes) == (0, 15, 1500)
    ring.max_bytes = 1000
    ring.append(chunk(15 * 40_000))
    assert (ring.first, ring.next, ring.size_bytes) == (6, 16, 1000)
    assert ring.first_key() is None
    assert ring[6].dts_us == 6 * 40_000
    with pytest.raises(IndexError):
        ring[5]


def test_ring_over_its_duration_evicts_but_never_the_newest() -> None:
    ring = ring_of(max_us=100_000)
    assert [item.dts_us for item in ring.items] == [280_000, 320_000, 360_000]
    ring.append(chunk(10**9))
    assert len(ring.items) == 1


def test_ring_keeps_the_newest_key_beyond_what_it_keeps_of_the_past() -> None:
    ring: Ring[Chunk] = Ring(max_bytes=10**6, max_duration_us=1_000_000, keep_us=200_000)
    for i in range(11):
        ring.append(chunk(i * 40_000, key=i == 0))
    assert ring.first == 0
    ring.append(chunk(11 * 40_000, key=True))
    assert (ring.first, ring.last_key()) == (6, 11)
    for i in range(12, 60):
        ring.append(chunk(i * 40_000))
    assert ring.last_key() is None
    assert len(ring.items) == 26


def test_ring_with_one_item_larger_than_its_bound_holds_just_that() -> None:
    ring = ring_of(0, count=3)
    ring.append(chunk(10**6, key=True, data=b"x" * 20_000))
    assert (ring.first, len(ring.items), ring.last_key()) == (3, 1, 3)


def test_ring_against_a_list_gives_the_same_items() -> None:
    rng = random.Random(7)
    ring: Ring[Chunk] = Ring(max_bytes=3000, max_duration_us=2_000_000)
    everything: list[Chunk] = []
    for i in range(2000):
        everything.append(
            chunk(i * 33_000, key=rng.random() < 0.1, data=bytes(rng.randrange(1, 300)))
        )
        ring.append(everything[-1])
        assert ring.next == len(everything)
        assert list(ring.items) == everything[ring.first :]
        assert list(ring.keys) == [j for j in range(ring.first, ring.next) if everything[j].key]
        assert ring.size_bytes == sum(item.size_bytes for item in ring.items) <= 3000
        position = rng.randrange(ring.next + 1)
        assert ring.since(position) == everything[max(position, ring.first) :]


@pytest.mark.parametrize(
    ("start", "first"),
    [(Start.FIRST_KEY, 2), (Start.LAST_KEY, 7), (Start.LIVE, 10), (Start.NEXT_KEY, 12)],
)
def test_subscription_starts_where_it_is_told(start: Start, first: int) -> None:
    ring = ring_of(2, 7)
    cursor = Subscription(ring, start)
    taken = cursor.take()
    for i in range(10, 15):
        ring.append(chunk(i * 40_000, key=i == 12))
        taken += cursor.take()
    assert [item.dts_us // 40_000 for item in taken] == list(range(first, 15))
    assert cursor.take() == []


def test_subscription_without_a_key_in_the_ring_waits_for_one() -> None:
    ring = ring_of()
    cursor = Subscription(ring, Start.LAST_KEY)
    ring.append(chunk(400_000))
    assert cursor.take() == []
    ring.append(chunk(440_000, key=True))
    assert [item.dts_us for item in cursor.take()] == [440_000]


def test_subscription_overtaken_by_eviction_goes_on_at_the_next_key() -> None:
    ring = ring_of(0, max_bytes=1000)
    cursor = Subscription(ring, Start.FIRST_KEY, max_lag_us=10**9)
    assert len(cursor.take()) == 10
    for i in range(10, 30):
        ring.append(chunk(i * 40_000, key=i == 25))
    assert [item.dts_us // 40_000 for item in cursor.take()] == list(range(25, 30))
    assert cursor.lost_units == 15


def test_subscription_too_far_behind_jumps_to_the_newest_key() -> None:
    ring = ring_of(0, 3, 8)
    cursor = Subscription(ring, Start.FIRST_KEY, max_lag_us=300_000)
    assert [item.dts_us // 40_000 for item in cursor.take()] == [8, 9]
    assert cursor.lost_units == 8


async def test_subscription_iterated_yields_batches_until_the_ring_closes() -> None:
    ring = ring_of(0, count=3)
    batches = []
    async for batch in Subscription(ring, Start.LAST_KEY):
        batches.append(len(batch))
        if len(batches) == 1:
            ring.append(chunk(120_000))
            ring.append(chunk(160_000))
        else:
            ring.close()
    assert batches == [3, 2]
