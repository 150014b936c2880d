"""`porthole user add|list|remove`: accounts made and ended by the device's operator."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from dataclasses import replace
from pathlib import Path

from appliance.cli import complain, say
from appliance.config import DEFAULT_STATE, Config, state_directory
from appliance.config_values import nearest
from appliance.errors import ConfigError
from appliance.hub.accounts import (
    MAX_PASSWORD_BYTES,
    Account,
    Accounts,
    Action,
    Scrypt,
    check_account_name,
    check_pattern,
    digest_key,
    make_key,
)
from appliance.hub.addresses import Network, parse_network
from appliance.hub.digest import make_ha1s

MIN_PASSWORD_CHARS = 8
DIGEST_COST = (
    "--digest has a cost: a copy of {path} is enough to play and publish by RTSP as {name},"
    " and makes the password quick to guess; without it there is rtsps://"
)


def run_user_command(arguments: argparse.Namespace, config: Config) -> int:
    """Raises: ConfigError."""
    accounts = Accounts(state_directory(config.device, os.environ))
    is_own = str(accounts.path.parent) != config.device.state
    if is_own and "STATE_DIRECTORY" not in os.environ and Path(DEFAULT_STATE).is_dir():
        complain(f"these are not the users in {DEFAULT_STATE}, which this user may not write")
    try:
        match arguments.verb:
            case "add":
                _add(arguments, accounts)
            case "remove":
                accounts.remove(arguments.name)
                say(f"{arguments.name} may do nothing any more")
            case _:
                _list(accounts)
    except UnicodeDecodeError as error:
        raise ConfigError("the password is not UTF-8") from error
    return os.EX_OK


def _add(arguments: argparse.Namespace, accounts: Accounts) -> None:
    account = Account(
        name=check_account_name(arguments.name),
        allow=_actions(arguments.allow),
        streams=tuple(check_pattern(pattern) for pattern in arguments.stream) or ("*",),
        ips=tuple(_network(text) for text in arguments.ip),
    )
    if arguments.password_stdin:
        password = _read_password()
        ha1s = make_ha1s(account.name, password) if arguments.digest else {}
        accounts.add(replace(account, password=Scrypt.make(password), ha1s=ha1s))
        say(f"user {account.name} is added")
        if ha1s:
            complain(DIGEST_COST.format(path=accounts.path, name=account.name))
        return
    if arguments.digest:
        raise ConfigError("--digest goes with --password-stdin; a key opens rtsp:// without it")
    key = make_key()
    ha1s = make_ha1s(account.name, key)
    accounts.add(replace(account, key_digest=digest_key(key), ha1s=ha1s))
    sys.stderr.write(f"the key of {account.name}, shown only now:\n")
    sys.stderr.flush()
    say(key)


def _actions(text: str) -> frozenset[Action]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    known = [action.value for action in Action]
    for word in words:
        if word not in known:
            raise ConfigError(f'--allow: "{word}" is no action{nearest(word, known)}')
    if not words:
        raise ConfigError(f"--allow: name some of {', '.join(known)}")
    return frozenset(Action(word) for word in words)


def _network(text: str) -> Network:
    try:
        return parse_network(text)
    except ValueError as error:
        raise ConfigError(f'--ip: "{text}" is no address or network') from error


def _read_password() -> str:
    """The first line of standard input; asked for twice if somebody types it."""
    if sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if getpass.getpass("Again: ") != password:
            raise ConfigError("the two passwords differ")
    else:
        password = sys.stdin.readline(4 * MAX_PASSWORD_BYTES).rstrip("\r\n")
    if len(password) < MIN_PASSWORD_CHARS:
        raise ConfigError(f"a password has at least {MIN_PASSWORD_CHARS} characters")
    if len(password) > MAX_PASSWORD_BYTES:
        raise ConfigError(f"a password has at most {MAX_PASSWORD_BYTES} characters")
    return password


def _list(accounts: Accounts) -> None:
    loaded = accounts.load()
    if not loaded:
        say(f"no users in {accounts.path}")
        return
    rows = [("NAME", "HAS A", "DIGEST", "MAY", "STREAMS", "FROM")]
    rows += [
        (
            account.name,
            "password" if account.password else "key",
            "yes" if account.ha1s else "-",
            ",".join(sorted(account.allow)),
            ",".join(account.streams),
            ",".join(map(str, account.ips)) or "anywhere",
        )
        for account in loaded
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
