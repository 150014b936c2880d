"""What GStreamer says when it ends."""

from __future__ import annotations

import re


def is_well(status: int, said: str) -> bool:
    """It played to its end.

    rtspsrc 1.22 stops by telling its own socket to give up waiting, then sends PAUSE by it, and at
    times still finds it given up: "Received end-of-file" of a connection on which its TEARDOWN is
    then answered. A server that hangs up shows as a failure to read.
    """
    errors = re.findall(r"^ERROR: .*: (.+)$", said, re.MULTILINE)
    return status == 0 or (
        "gst_rtspsrc_pause" in said and set(errors) == {"Could not write to resource."}
    )
