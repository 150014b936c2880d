"""Fingerprints as people write them. What they do is held by the services that use them."""

from __future__ import annotations

import pytest

from appliance.errors import ConfigError
from appliance.net.tls_pin import fingerprint, parse_fingerprint, read_fingerprint

DIGITS = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
COLONS = ":".join(DIGITS[at : at + 2] for at in range(0, 64, 2)).upper()


@pytest.mark.parametrize("text", [DIGITS, f"sha256:{DIGITS}", COLONS, f" SHA256:{COLONS} "])
def test_fingerprint_is_read_as_the_log_and_openssl_write_it(text: str) -> None:
    assert parse_fingerprint(text) == DIGITS
    assert fingerprint(b"") == f"sha256:{DIGITS}"


@pytest.mark.parametrize("text", ["", "sha256:", DIGITS[1:], f"sha1:{DIGITS}", "x" * 64])
def test_fingerprint_that_is_none_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match="64 digits"):
        parse_fingerprint(text)


async def test_fingerprint_of_nobody_is_none() -> None:
    assert await read_fingerprint("127.0.0.1", 1) == ""
