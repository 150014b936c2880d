from __future__ import annotations

import pytest

from appliance.hub.digest import HA1_DIGITS, REALM, make_ha1s, record_to_ha1s
from appliance.wire.rtsp.auth import Algorithm, make_ha1


def test_ha1s_are_those_that_the_wire_checks() -> None:
    secrets = make_ha1s("ann", "sésame:\udcff")
    assert {Algorithm(name): ha1 for name, ha1 in secrets.items()} == {
        algorithm: make_ha1(algorithm, "ann", REALM, "sésame:\udcff") for algorithm in Algorithm
    }


def test_ha1s_differ_by_user_and_come_back_as_stored() -> None:
    secrets = make_ha1s("ann", "sesame")
    assert record_to_ha1s(dict(secrets)) == secrets
    assert not set(secrets.values()) & set(make_ha1s("bob", "sesame").values())


@pytest.mark.parametrize(
    "record",
    [
        None,
        [],
        "x",
        {},
        {"MD5": "0" * 32},
        {"MD5": "0" * 32, "SHA-256": "0" * 63},
        {"MD5": "0" * 32, "SHA-256": "0" * 64 + "\n"},
        {"MD5": "G" * 32, "SHA-256": "0" * 64},
        {"MD5": 0, "SHA-256": "0" * 64},
        {"MD5": ["0" * 32], "SHA-256": "0" * 64},
        {"MD5": "0" * 32, "SHA-256": "0" * 64, "SHA-512": "0" * 128},
    ],
)
def test_ha1s_that_are_not_ours_are_refused(record: object) -> None:
    assert set(HA1_DIGITS) == {"MD5", "SHA-256"}
    with pytest.raises(ValueError, match="digest"):
        record_to_ha1s(record)
