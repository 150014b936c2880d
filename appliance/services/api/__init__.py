"""The HTTP API in the shapes of SRS, /metrics for Prometheus, and /healthz."""

from __future__ import annotations

from appliance.services.api.service import Settings, create

__all__ = ["Settings", "create"]
