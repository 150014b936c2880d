"""The command `porthole` and its subcommands. Exit codes are those of sysexits.h.

Imports are late, so that each subcommand loads only what it uses.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from appliance.errors import ConfigError

if TYPE_CHECKING:
    from appliance.config import Config, ConfigSource
    from appliance.hub.access import Access

EX_INTERRUPTED = 128 + 2

OWNER_KEY = """
  The owner's key of this device, for publishing and the API. It is shown only now:

      {key}

  It is stored as a hash in {path}.
  For another one: porthole user remove {owner}
                   porthole user add {owner} {allow}

"""
ALLOW_ALL = "--allow publish,play,api"


class Parser(argparse.ArgumentParser):
    """Wrong usage ends with EX_USAGE and one sentence."""

    def error(self, message: str) -> NoReturn:
        self.exit(os.EX_USAGE, f"{self.prog}: {message}\ntry: {self.prog} --help\n")


def say(text: str) -> None:
    """One line for whoever reads what the command is for."""
    sys.stdout.write(f"{text}\n")


def complain(text: str) -> None:
    """One or more lines on what went wrong; they may quote what somebody typed."""
    from appliance.log import escape

    for line in text.split("\n"):
        sys.stderr.write(f"porthole: {escape(line)}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one subcommand and returns the exit code. Also the console script."""
    parsed = make_parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = parsed.command
    try:
        return command(parsed)
    except ConfigError as error:
        complain(str(error))
        return exit_code(error)
    except FileNotFoundError as error:
        complain(str(error) if error.strerror is None else f"{error.filename}: {error.strerror}")
        return os.EX_NOINPUT
    except PermissionError as error:
        complain(f"{error.filename}: {error.strerror}")
        return os.EX_NOPERM
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing may be flushed into the pipe any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return os.EX_OK
    except KeyboardInterrupt:
        return EX_INTERRUPTED


def _is_file(path: Path) -> bool:
    """Path.is_file fails for names that no file can have, being too long."""
    try:
        return path.is_file()
    except OSError:
        return False


def exit_code(error: ConfigError) -> int:
    """What caused it: the system's refusal, an address in use, or the configuration itself."""
    cause = error.__cause__
    if isinstance(cause, PermissionError):
        return os.EX_NOPERM
    if isinstance(cause, OSError) and cause.errno in {errno.EADDRINUSE, errno.EADDRNOTAVAIL}:
        return os.EX_UNAVAILABLE
    return os.EX_CONFIG


def make_parser() -> Parser:
    parser = Parser(prog="porthole", description="A streaming appliance.", allow_abbrev=False)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    run = commands.add_parser("run", help="serve", allow_abbrev=False)
    _add_config_arguments(run)
    _add_source_argument(run)
    run.set_defaults(command=run_command)

    check = commands.add_parser("check", help="explain a configuration", allow_abbrev=False)
    _add_config_arguments(check)
    _add_source_argument(check)
    check.set_defaults(command=check_command)

    user = commands.add_parser("user", help="who may publish, play and use the API")
    _add_user_commands(user)

    cameras = commands.add_parser("cameras", help="the cameras plugged in here, and their sources")
    cameras.add_argument("--json", action="store_true", help="everything they offer, as JSON")
    cameras.set_defaults(command=cameras_command)

    camera = commands.add_parser("camera", help="show and change a running device's cameras")
    _add_camera_commands(camera)

    probe = commands.add_parser("probe", help="what is in a stream", allow_abbrev=False)
    probe.add_argument("url", metavar="URL|FILE")
    probe.add_argument("--seconds", type=float, default=6.0, help="how long to measure (6)")
    probe.add_argument("--json", action="store_true", help="the measurements as JSON")
    probe.set_defaults(command=probe_command)

    version = commands.add_parser("version", help="of porthole and what it runs on")
    version.set_defaults(command=version_command)
    return parser


def _add_config_arguments(parser: argparse.ArgumentParser, *, is_verb: bool = False) -> None:
    """is_verb: what stands before the verb counts, unless it stands after it too."""
    unset = argparse.SUPPRESS if is_verb else None
    parser.add_argument("-c", "--config", type=Path, default=unset, metavar="FILE")
    parser.add_argument(
        "--set",
        action="append",
        default=unset if is_verb else [],
        metavar="a.b=c",
        dest="overrides",
        help="one setting, like hls.segment=1s or stream.live/camera.source=pattern:",
    )


def _add_source_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", nargs="?", metavar="SOURCE", help="of the stream live/camera")
    parser.add_argument("--source", dest="source_option", metavar="SOURCE", help="the same")


def _add_user_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    add = commands.add_parser("add", help="a user with a password, or a generated key")
    _add_config_arguments(add)
    add.add_argument("name")
    secret = add.add_mutually_exclusive_group()
    secret.add_argument("--key", action="store_true", help="generate a key (the default)")
    secret.add_argument(
        "--password-stdin", action="store_true", help="read a password from standard input"
    )
    add.add_argument(
        "--digest",
        action="store_true",
        help="let the password open rtsp:// without TLS; whoever copies the file of users can, too",
    )
    add.add_argument("--allow", default="play", metavar="publish,play,api", help="default: play")
    add.add_argument("--stream", action="append", default=[], metavar="'live/*'")
    add.add_argument("--ip", action="append", default=[], metavar="10.0.0.0/8")
    add.set_defaults(command=user_command, verb="add")

    listing = commands.add_parser("list", help="all users and keys, without their secrets")
    _add_config_arguments(listing)
    listing.set_defaults(command=user_command, verb="list")

    remove = commands.add_parser("remove", help="ends what a user or key may do")
    _add_config_arguments(remove)
    remove.add_argument("name")
    remove.set_defaults(command=user_command, verb="remove")


def _add_camera_commands(parser: argparse.ArgumentParser) -> None:
    """Without a verb: the list. What all of them take stands before or after the verb."""
    _add_device_arguments(parser)
    parser.set_defaults(command=camera_command, verb="list")
    verbs = parser.add_subparsers(metavar="VERB")
    for verb, about in (
        ("list", "all cameras (without a verb, too)"),
        ("show", "everything about one camera, its controls and their ranges"),
        ("set", "settings and controls, such as fps=15 text='hello' exposure=2000"),
        ("on", "switch the camera on"),
        ("off", "switch the camera off: its sensor is closed"),
        ("preset", "take over a [[stream.preset]]"),
    ):
        each = verbs.add_parser(verb, help=about, allow_abbrev=False)
        _add_device_arguments(each, is_verb=True)
        each.set_defaults(verb=verb)
        if verb != "list":
            each.add_argument("name", metavar="NAME")
        if verb == "set":
            each.add_argument("settings", metavar="KEY=VALUE", nargs="+")
        if verb == "preset":
            each.add_argument("preset", metavar="PRESET")


def _add_device_arguments(parser: argparse.ArgumentParser, *, is_verb: bool = False) -> None:
    unset, no = (argparse.SUPPRESS, argparse.SUPPRESS) if is_verb else (None, False)
    parser.add_argument("--url", default=unset, metavar="http://DEVICE:8080", help="another device")
    parser.add_argument(
        "--key-file", type=Path, default=unset, metavar="FILE", help="else $PORTHOLE_KEY"
    )
    parser.add_argument("--json", action="store_true", default=no, help="what the API says")
    _add_config_arguments(parser, is_verb=is_verb)


def config_source(arguments: argparse.Namespace) -> ConfigSource:
    """Raises: FileNotFoundError if a named file is not there."""
    from appliance.config import ConfigSource, find_file

    path = arguments.config
    if path is not None and not _is_file(path):
        code = errno.EISDIR if os.path.isdir(path) else errno.ENOENT  # noqa: PTH112 - as above
        raise FileNotFoundError(code, os.strerror(code), str(path))
    source = getattr(arguments, "source", None) or getattr(arguments, "source_option", None)
    return ConfigSource(path or find_file(os.environ), arguments.overrides, source or None)


def loader(source: ConfigSource) -> Callable[[], Config]:
    """Reads the configuration anew at each call, as the services now in the catalog know it."""
    from appliance.catalog import settings_types, source_schemes

    return partial(source.load, settings_types(), source_schemes())


def run_command(arguments: argparse.Namespace) -> int:
    import asyncio
    import logging

    from appliance.app import are_threads_left, run
    from appliance.config import ConfigFaults
    from appliance.log import Log

    logger = logging.getLogger(__name__)
    load = loader(config_source(arguments))
    config = load()
    code = os.EX_OK
    with Log(config.log) as log:
        access = _open_access(config, is_private=not log.is_journal)

        def reload() -> Config:
            try:
                fresh = load()
            except ConfigFaults as error:
                for fault in error.faults:
                    logger.error("%s", fault)  # noqa: TRY400
                raise ConfigError(f"it has faults ({len(error.faults)})") from error
            log.apply(fresh.log)
            return fresh

        try:
            asyncio.run(run(config, access, reload))
        except ConfigError:
            raise
        except Exception:
            logger.exception("porthole ends by a fault of its own")
            code = os.EX_SOFTWARE
    if are_threads_left():
        os._exit(code)
    return code


def _open_access(config: Config, *, is_private: bool) -> Access:
    """The gate with its accounts; a new device makes the owner's key and shows it.

    is_private: what goes to stderr stays between us. A journal keeps and forwards what it gets,
    so there it is only said how to make a key.
    """
    from appliance.config import state_directory
    from appliance.hub.access import Access
    from appliance.hub.accounts import OWNER, Accounts

    directory = state_directory(config.device, os.environ)
    accounts = Accounts(directory)
    if not accounts.path.exists():
        if is_private:
            key = accounts.make_owner()
            if key is not None:
                sys.stderr.write(
                    OWNER_KEY.format(key=key, path=accounts.path, owner=OWNER, allow=ALLOW_ALL)
                )
        else:
            complain(f"no users yet; the owner's key: porthole user add {OWNER} {ALLOW_ALL}")
        sys.stderr.flush()
    return Access(config.auth, directory)


def check_command(arguments: argparse.Namespace) -> int:
    from appliance.cli_check import summarize
    from appliance.config_advice import advise

    source = config_source(arguments)
    config = loader(source)()
    say(summarize(config, source))
    sys.stdout.flush()
    for text in advise(config):
        complain(f"warning: {text}")
    return os.EX_OK


def user_command(arguments: argparse.Namespace) -> int:
    from appliance.cli_user import run_user_command

    config = loader(config_source(arguments))()
    return run_user_command(arguments, config)


def cameras_command(arguments: argparse.Namespace) -> int:
    from appliance.cli_cameras import run_cameras_command

    return run_cameras_command(as_json=arguments.json)


def camera_command(arguments: argparse.Namespace) -> int:
    from appliance.cli_camera import run_camera_command

    config = loader(config_source(arguments))()
    return run_camera_command(arguments, config)


def probe_command(arguments: argparse.Namespace) -> int:
    from appliance.probe import run_probe

    return run_probe(arguments.url, seconds=arguments.seconds, as_json=arguments.json)


def version_command(_: argparse.Namespace) -> int:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from appliance import __version__

    say(f"porthole {__version__}")
    say(f"  python {platform.python_version()} on {platform.machine()}")
    for package in ("aiohttp", "av"):
        try:
            say(f"  {package} {version(package)}")
        except PackageNotFoundError:
            say(f"  {package} is not installed")
    return os.EX_OK
