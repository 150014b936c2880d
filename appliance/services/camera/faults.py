"""Why a worker session ended, besides what its process tells (net/worker_process.py)."""

from __future__ import annotations

from appliance.net.worker_process import CANNOT_START, DEAF, DIED

STALLED = "stalled"
GARBAGE = "garbage"
FLOOD = "flood"
TAKEN_OVER = "taken-over"
KICKED = "kicked"

# What a new start of the whole service might cure; a camera that is unplugged is none of them.
DESPERATE = frozenset({DIED, STALLED, GARBAGE, FLOOD, DEAF, CANNOT_START})
