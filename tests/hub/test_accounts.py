from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import ConfigError
from appliance.hub.accounts import (
    Account,
    Accounts,
    Action,
    Scrypt,
    check_pattern,
    digest_key,
    make_key,
)
from appliance.hub.addresses import is_lan, parse_network
from appliance.hub.digest import make_ha1s

KEY_ACCOUNT = Account(
    "cam", frozenset({Action.PUBLISH}), key_digest=digest_key("x"), ha1s=make_ha1s("cam", "x")
)


def test_accounts_come_back_as_they_were_saved(tmp_path: Path) -> None:
    accounts = (
        KEY_ACCOUNT,
        Account(
            "ann",
            frozenset({Action.PLAY, Action.API}),
            ("live/*", "239.1.1.1:1234"),
            (parse_network("10.0.0.0/8"), parse_network("fd00::/8")),
            Scrypt(b"s" * 16, b"d" * 32, 1 << 12, 4, 2),
        ),
        Account("bob", frozenset(), password=Scrypt(b"s", b"d" * 32), ha1s=make_ha1s("bob", "x")),
        Account("old", frozenset(), key_digest=digest_key("y")),
    )
    Accounts(tmp_path).save(accounts)
    assert Accounts(tmp_path).load() == accounts


def test_scrypt_matches_its_password_only_and_is_salted() -> None:
    first, second = Scrypt.make("sesame"), Scrypt.make("sesame")
    assert first.matches("sesame") and not first.matches("sesame ")
    assert first.digest != second.digest


def test_make_key_is_128_bits_of_base64url() -> None:
    keys = {make_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(len(key) == 22 and key.replace("-", "").replace("_", "").isalnum() for key in keys)


def test_accounts_names_are_unique_and_removable(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path / "deep" / "state")
    accounts.add(KEY_ACCOUNT)
    with pytest.raises(ConfigError, match="already"):
        accounts.add(KEY_ACCOUNT)
    accounts.remove("cam")
    with pytest.raises(ConfigError, match="no user cam"):
        accounts.remove("cam")
    with pytest.raises(ConfigError):
        accounts.remove("x\x1b[2J")


def test_accounts_removing_all_does_not_bring_back_a_new_owner(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path)
    assert accounts.make_owner()
    accounts.remove("owner")
    assert accounts.make_owner() is None


def test_accounts_file_is_private_and_replaced_whole(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path)
    accounts.add(KEY_ACCOUNT)
    with accounts.path.open() as before:
        accounts.remove("cam")
        assert json.load(before)["accounts"], "the old file is still whole for who has it open"
    assert accounts.path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["accounts.json"]  # noqa: PTH208


def test_accounts_file_open_to_others_is_closed_when_read(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path)
    accounts.add(KEY_ACCOUNT)
    accounts.path.chmod(0o644)
    accounts.load()
    assert accounts.path.stat().st_mode & 0o777 == 0o600


def test_accounts_directory_that_is_a_file_is_explained(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(ConfigError, match="state"):
        Accounts(tmp_path / "state").make_owner()


def record(**changes: Any) -> dict[str, Any]:
    return {"name": "a", "allow": [], "streams": [], "ips": [], "key_sha256": "0" * 64} | changes


def test_accounts_file_from_before_digest_is_read_and_changed(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path)
    accounts.path.write_text(json.dumps({"version": 1, "accounts": [record(), scrypt(name="b")]}))
    accounts.add(KEY_ACCOUNT)
    *older, new = accounts.load()
    assert new == KEY_ACCOUNT
    assert not any(account.ha1s for account in older)
    assert [account.name for account in older] == ["a", "b"]


def scrypt(name: str = "a", **changes: Any) -> dict[str, Any]:
    whole = {"salt": "00", "digest": "00" * 32, "n": 2, "r": 1, "p": 1} | changes
    return record(name=name, scrypt=whole)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "x",
        {"version": 2, "accounts": []},
        {"version": 1},
        {"version": 1, "accounts": {"a": 1}},
        {"version": 1, "accounts": [1]},
        {"version": 1, "accounts": [record()] * 257},
        {"version": 1, "accounts": [record()] * 2},
        *(
            {"version": 1, "accounts": [entry]}
            for entry in (
                {},
                record(name="../x"),
                record(name=1),
                record(name="a\n"),
                record(allow=["root"]),
                record(allow=1),
                record(streams=["a b"]),
                record(ips=["10.0.0.0/99"]),
                record(ips=[{}]),
                record(key_sha256="0"),
                record(key_sha256="G" * 64),
                record(digest=None),
                record(digest={"MD5": "0" * 32}),
                record(digest={"MD5": "0" * 32, "SHA-256": "0" * 32}),
                scrypt(n=3),
                scrypt(n=1 << 30),
                scrypt(r=10**9),
                scrypt(p=0),
                scrypt(salt="xy"),
                scrypt(digest="00"),
                scrypt(n="１２"),
                record(scrypt=[]),
            )
        ),
    ],
)
def test_accounts_file_that_is_not_ours_is_a_config_error(tmp_path: Path, document: Any) -> None:
    accounts = Accounts(tmp_path)
    accounts.path.write_text(json.dumps(document))
    with pytest.raises(ConfigError, match="accounts.json"):
        accounts.load()


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe", b"[" * 100_000, b"9" * 5000, b" " * (2 << 20), b"NaN"]
)
def test_accounts_file_of_garbage_is_a_config_error(tmp_path: Path, data: bytes) -> None:
    accounts = Accounts(tmp_path)
    accounts.path.write_bytes(data)
    with pytest.raises(ConfigError, match="damaged"):
        accounts.load()


@pytest.mark.parametrize("pattern", ["", "a b", "x" * 129, "[a]", "a\n", "$(id)", "é"])
def test_pattern_that_matches_no_name_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigError):
        check_pattern(pattern)


@pytest.mark.parametrize(
    ("address", "near"),
    [
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("10.255.0.1", True),
        ("172.16.0.1", True),
        ("172.31.255.255", True),
        ("172.32.0.1", False),
        ("172.15.255.255", False),
        ("192.168.255.1", True),
        ("192.169.0.1", False),
        ("169.254.1.1", True),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("198.18.0.1", False),
        ("192.0.2.1", False),
        ("8.8.8.8", False),
        ("::1", True),
        ("::", False),
        ("fe80::1%eth0", True),
        ("fd12:3456::1", True),
        ("fec0::1", False),
        ("2001:db8::1", False),
        ("::ffff:10.0.0.1", True),
        ("::ffff:8.8.8.8", False),
        ("::10.0.0.1", False),
        ("64:ff9b::10.0.0.1", False),
        ("010.0.0.1", False),
        ("10.1", False),
        ("１０.0.0.1", False),
        ("localhost", False),
        ("", False),
        ("10.0.0.1\n", False),
    ],
)
def test_lan_is_loopback_private_and_link_local(address: str, near: bool) -> None:
    assert is_lan(address) is near


def test_network_of_a_mapped_range_is_the_ipv4_range() -> None:
    assert parse_network("::ffff:10.0.0.0/104") == parse_network("10.0.0.0/8")
    assert parse_network("10.1.2.3/8") == parse_network("10.0.0.0/8")
    assert parse_network("10.1.2.3").prefixlen == 32
