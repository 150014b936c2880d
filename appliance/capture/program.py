"""The worker's life: set up the process, run the source, say why it ended."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import resource
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from appliance.capture.commands import Commands
from appliance.capture.fault import SourceFault
from appliance.capture.log import start_log
from appliance.capture.options import Options
from appliance.capture.outlet import Outlet
from appliance.capture.sources import open_source
from appliance.wire.pipe.messages import Fault, Reason

PR_SET_PDEATHSIG = 1
SOURCE_VARIABLE = "PORTHOLE_SOURCE"
OOM_SCORE = "300"  # of 1000: before the server, which has its unit's -100
EXIT_OK, EXIT_FAULT = 0, 1


def main(arguments: Sequence[str]) -> int:
    asked = _parser().parse_args(arguments)
    source = os.environ.pop(SOURCE_VARIABLE, "") if asked.source == "-" else asked.source
    if asked.describe:
        from appliance.capture.describe import describe

        return describe(source, asked.options_json, asked.seconds)
    descriptor = take_output()
    die_with_parent(asked.parent)
    step_back(asked.nice)
    start_log()
    outlet = Outlet(descriptor)
    commands = Commands()
    commands.listen(0)
    return run(source, asked.options_json, outlet, commands)


def run(source: str, options_json: str, outlet: Outlet, commands: Commands) -> int:
    """The source until its end; its fault is the last frame on the pipe."""
    try:
        open_source(source, Options.from_json(options_json)).run(outlet, commands)
    except BrokenPipeError:
        return EXIT_OK  # the appliance is gone or does not want us any more
    except SourceFault as error:
        outlet.fault(Fault(error.reason, str(error)))
    except Exception as error:
        traceback.print_exc()
        outlet.fault(Fault(Reason.INTERNAL, f"a fault of ours in the capture worker: {error!r}"))
    else:
        return EXIT_OK  # a slate is all there is of its source
    return EXIT_FAULT


def take_output() -> int:
    """A private copy of descriptor 1, which itself is standard error from now on."""
    sys.stdout.flush()
    descriptor = os.dup(1)
    os.dup2(2, 1)
    return descriptor


def die_with_parent(parent: int) -> None:
    """The kernel kills us when the appliance dies (prctl(2), PR_SET_PDEATHSIG).

    parent: its process id, in case it died before we could ask for this; 0 if run by hand.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent and os.getppid() != parent:
        sys.exit(EXIT_OK)


def step_back(nice: int) -> None:
    """When the machine is short of something, the server shall live: it can start us again."""
    with contextlib.suppress(OSError):  # a sandbox may forbid it; the pictures matter more
        os.nice(nice)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # pictures of a home do not belong on disk
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m appliance.capture", description=__doc__)
    parser.add_argument(
        "source", help=f"pattern:, file:PATH or av:URL; - takes it from ${SOURCE_VARIABLE}"
    )
    parser.add_argument("--options-json", default="{}", help="see appliance/capture/options.py")
    parser.add_argument("--parent", type=int, default=0, help="process id that must be alive")
    parser.add_argument("--nice", type=int, default=0, help="lower the priority by this much")
    parser.add_argument(
        "--describe", action="store_true", help="print what would be sent as a table instead"
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="how long to --describe")
    return parser
