"""Figures of the process and the machine, from /proc; what a sandbox hides counts as zero."""

from __future__ import annotations

import os
import resource
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance import __version__
from appliance.services.api.loop_lag import LoopLag

PROC = Path("/proc")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICKS_HZ = os.sysconf("SC_CLK_TCK")
MIN_SAMPLE_S = 1.0  # rates over less than this would be noise
SECTOR_BYTES = 512


def _read(path: str) -> str:
    try:
        return (PROC / path).read_text()
    except OSError:
        return ""


def _fields(path: str) -> dict[str, int]:
    """``Name:   123 kB`` lines."""
    found = {}
    for line in _read(path).splitlines():
        name, _, rest = line.partition(":")
        value = rest.split()
        if value and value[0].isdigit():
            found[name] = int(value[0])
    return found


def resident_bytes() -> int:
    pages = _read("self/statm").split()
    return int(pages[1]) * PAGE_BYTES if len(pages) > 1 else 0


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def open_fds() -> int:
    try:
        return len(list((PROC / "self/fd").iterdir()))
    except OSError:
        return 0


@dataclass(slots=True)
class _Sample:
    at_s: float
    process_s: float
    busy_s: float
    total_s: float
    read_bytes: int
    written_bytes: int
    disk_busy_s: float


def _sample() -> _Sample:
    busy_s, total_s = _machine_cpu_s()
    read_bytes, written_bytes, disk_busy_s = _disk()
    return _Sample(
        time.monotonic(), cpu_s(), busy_s, total_s, read_bytes, written_bytes, disk_busy_s
    )


def _machine_cpu_s() -> tuple[float, float]:
    """(busy, all) seconds of all processors: the first line of proc_stat(5)."""
    line = _read("stat").partition("\n")[0].split()
    ticks = [int(word) for word in line[1:9]]
    if len(ticks) < 5:
        return 0.0, 0.0
    idle = ticks[3] + ticks[4]
    return (sum(ticks) - idle) / TICKS_HZ, sum(ticks) / TICKS_HZ


def _disk() -> tuple[int, int, float]:
    """(bytes read, bytes written, seconds busy) of whole disks (proc_diskstats(5))."""
    read_bytes = written_bytes = 0
    busy_s = 0.0
    for line in _read("diskstats").splitlines():
        words = line.split()
        if len(words) < 13 or not Path("/sys/block", words[2]).exists():
            continue
        read_bytes += int(words[5]) * SECTOR_BYTES
        written_bytes += int(words[9]) * SECTOR_BYTES
        busy_s += int(words[12]) / 1000
    return read_bytes, written_bytes, busy_s


def _network() -> tuple[int, int, int, int]:
    """Bytes (in, out) of the network, then of loopback (proc_pid_net(5), dev)."""
    totals = [0, 0, 0, 0]
    for line in _read("self/net/dev").splitlines():
        name, colon, rest = line.partition(":")
        words = rest.split()
        if colon and len(words) >= 9:
            place = 2 if name.strip() == "lo" else 0
            totals[place] += int(words[0])
            totals[place + 1] += int(words[8])
    return totals[0], totals[1], totals[2], totals[3]


def _sockets() -> dict[str, int]:
    """``TCP.inuse`` and the like, and ``Tcp.CurrEstab``."""
    found = {}
    for line in _read("self/net/sockstat").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        for key, value in zip(words[::2], words[1::2], strict=False):
            found[f"{name}.{key}"] = int(value)
    tcp = [line.split() for line in _read("self/net/snmp").splitlines() if line.startswith("Tcp:")]
    if len(tcp) == 2 and "CurrEstab" in tcp[0]:
        found["Tcp.CurrEstab"] = int(tcp[1][tcp[0].index("CurrEstab")])
    return found


@dataclass(slots=True)
class System:
    """Rates are between this reading and the last one at least a second before."""

    started_s: float = field(default_factory=time.monotonic)
    lag: LoopLag = field(default_factory=LoopLag)
    _before: _Sample = field(default_factory=_sample)
    _now: _Sample = field(default_factory=_sample)

    def refresh(self) -> None:
        if time.monotonic() - self._now.at_s >= MIN_SAMPLE_S:
            self._before, self._now = self._now, _sample()

    @property
    def uptime_s(self) -> float:
        return time.monotonic() - self.started_s

    def process_cpu(self) -> float:
        """Of one processor, 0 to 1 and beyond."""
        return (self._now.process_s - self._before.process_s) / self._span_s()

    def _span_s(self) -> float:
        return max(0.001, self._now.at_s - self._before.at_s)

    def _machine_cpu(self) -> float:
        total_s = self._now.total_s - self._before.total_s
        return (self._now.busy_s - self._before.busy_s) / total_s if total_s else 0.0

    def porthole_shape(self) -> dict[str, Any]:
        """What SRS has no word for."""
        lag_s = self.lag.quantiles_s()
        names = {"p50": "0.5", "p99": "0.99", "max": "1"}
        return {"loop_lag_ms": {name: lag_s[part] * 1000 for name, part in names.items()}}

    def self_shape(self) -> dict[str, Any]:
        """SRS's `self`. argv is cut before any value that could be secret."""
        memory_kb = resident_bytes() // 1024
        total_kb = _fields("meminfo").get("MemTotal", 0)
        return {
            "version": __version__,
            "pid": os.getpid(),
            "ppid": os.getppid(),
            "argv": " ".join(sys.argv[:2]),
            "cwd": str(Path.cwd()),
            "mem_kbyte": memory_kb,
            "mem_percent": memory_kb / total_kb if total_kb else 0.0,
            "cpu_percent": self.process_cpu(),
            "srs_uptime": int(self.uptime_s),
        }

    def system_shape(self, received_bytes: int, sent_bytes: int, sessions: int) -> dict[str, Any]:
        """SRS's `system`, its misspelt key included: tools read it."""
        memory = _fields("meminfo")
        total_kb, swap_kb = memory.get("MemTotal", 0), memory.get("SwapTotal", 0)
        free_kb = memory.get("MemAvailable", total_kb)
        uptime = [float(word) for word in _read("uptime").split()] or [0.0, 0.0]
        loads = [float(word) for word in _read("loadavg").split()[:3]] or [0.0, 0.0, 0.0]
        net_in, net_out, lo_in, lo_out = _network()
        sockets = _sockets()
        now_ms = time.time_ns() // 1_000_000
        return {
            "cpu_percent": self._machine_cpu(),
            **self._disk_shape(),
            "mem_ram_kbyte": total_kb,
            "mem_ram_percent": 1 - free_kb / total_kb if total_kb else 0.0,
            "mem_swap_kbyte": swap_kb,
            "mem_swap_percent": 1 - memory.get("SwapFree", 0) / swap_kb if swap_kb else 0.0,
            "cpus": os.cpu_count() or 1,
            "cpus_online": os.sysconf("SC_NPROCESSORS_ONLN"),
            "uptime": uptime[0],
            "ilde_time": uptime[1],
            "load_1m": loads[0],
            "load_5m": loads[1],
            "load_15m": loads[2],
            "net_sample_time": now_ms,
            "net_recv_bytes": net_in,
            "net_send_bytes": net_out,
            "net_recvi_bytes": lo_in,
            "net_sendi_bytes": lo_out,
            "srs_sample_time": now_ms,
            "srs_recv_bytes": received_bytes,
            "srs_send_bytes": sent_bytes,
            "conn_sys": sockets.get("TCP.inuse", 0) + sockets.get("TCP.tw", 0),
            "conn_sys_et": sockets.get("Tcp.CurrEstab", 0),
            "conn_sys_tw": sockets.get("TCP.tw", 0),
            "conn_sys_udp": sockets.get("UDP.inuse", 0),
            "conn_srs": sessions,
        }

    def _disk_shape(self) -> dict[str, Any]:
        span_s, now, before = self._span_s(), self._now, self._before
        return {
            "disk_read_KBps": int((now.read_bytes - before.read_bytes) / 1000 / span_s),
            "disk_write_KBps": int((now.written_bytes - before.written_bytes) / 1000 / span_s),
            "disk_busy_percent": min(1.0, (now.disk_busy_s - before.disk_busy_s) / span_s),
        }
