"""Composition: builds the hub, the network and the services from a configuration and runs them."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from appliance import __version__
from appliance.catalog import CATALOG
from appliance.config import Config
from appliance.errors import ApplianceError, ConfigError
from appliance.hub.access import Access
from appliance.hub.hub import Hub
from appliance.hub.sessions import Sessions
from appliance.hub.stats import Counters, Faults
from appliance.hub.stream import Limits
from appliance.net.address import ANY_HOSTS, is_loopback, reachable_urls
from appliance.net.http import HttpServer, Router
from appliance.net.supervisor import Supervisor
from appliance.net.systemd import Notifier
from appliance.services.contract import Context, Service

log = logging.getLogger(__name__)

SWEEP_S = 1.0
STOP_DEADLINE_S = 8.0  # systemd kills after TimeoutStopSec=10
THREADS_DEADLINE_S = 1.0  # for a file that is being written
THREADS = "porthole-thread"


class App:
    """One running appliance. `start`, then `run` until `stop` is called; used once."""

    def __init__(self, config: Config, access: Access, notifier: Notifier | None = None) -> None:
        self.config = config
        self.notifier = notifier or Notifier()
        self.context = Context(
            hub=Hub(Limits(max_streams=config.device.max_streams)),
            router=Router(),
            access=access,
            sessions=Sessions(max_sessions=config.device.max_sessions),
            faults=Faults(),
            counters=Counters(),
            supervisor=Supervisor(),
            device_name=config.device.name,
            streams=config.streams,
            state_dir=access.state_dir,
        )
        access.on_refusal = self._count_refusal
        self.http = HttpServer(self.context.router, config.http, on_fault=self.context.faults.count)
        self.services: dict[str, Service] = {}
        self._stopping = asyncio.Event()

    def _count_refusal(self, reason: str, peer_ip: str) -> None:
        self.context.faults.count("auth", reason, peer_ip)

    async def start(self) -> None:
        """Everything is served when it returns. Raises: ConfigError (an address is taken)."""
        self.http.bind()  # a taken address is known before anything is started
        for entry in CATALOG:
            settings = self.config.services[entry.name]
            service: Service = entry.load().create(settings, self.context)
            await service.start()
            self.services[entry.name] = service
        await self.http.start()
        self._publish_local_key()
        self.context.supervisor.keep("housekeeping", self._sweep)
        self.context.supervisor.keep("service manager", self._keep_well)
        for url in self._urls():
            log.info("listening on %s", url)
        gc.collect()
        gc.freeze()  # what start-up made stays: the collector need not walk it again
        self.notifier.ready()

    def _addresses(self) -> list[tuple[str, str]]:
        """(scheme, address) of all that is listened on."""
        plain = [("http", address) for address in self.http.addresses]
        return plain + [("https", address) for address in self.http.tls_addresses]

    def _urls(self) -> list[str]:
        """What to open in a browser."""
        urls = []
        for scheme, address in self._addresses():
            urls += reachable_urls(scheme, address)
        return urls

    def _publish_local_key(self) -> None:
        """Lets `porthole camera` on this machine reach us; without it, a key is asked for."""
        local_key, url = self.context.access.local_key, loopback_url(self._addresses())
        if local_key is None or url is None:
            return
        try:
            local_key.publish(url)
        except OSError as error:
            log.warning("commands on this machine need a key: %s", error)

    async def run(self) -> None:
        await self._stopping.wait()

    def stop(self) -> None:
        self.notifier.stopping()
        self._stopping.set()

    async def close(self) -> None:
        """Says goodbye within the deadline; what is left then is dropped with the process."""
        if self.context.access.local_key is not None:
            self.context.access.local_key.withdraw()
        try:
            async with asyncio.timeout(STOP_DEADLINE_S):
                for service in reversed(self.services.values()):
                    await service.stop()
                self.context.hub.close()
                await self.http.stop()
                await self.context.supervisor.close()
        except TimeoutError:
            log.warning("not everything ended within %.0f s", STOP_DEADLINE_S)

    async def _keep_well(self) -> None:
        await self.notifier.keep_well(self.context.watchdog, self._status)

    def _status(self) -> str:
        """For ``systemctl status``."""
        streams = self.context.hub.streams.values()
        live = sum(stream.is_live for stream in streams)
        viewers = sum(not one.is_publisher for one in self.context.sessions.active.values())
        return f"{live} of {len(streams)} streams live, {viewers} viewers"

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self.context.hub.sweep()

    def reload(self, load: Callable[[], Config]) -> None:
        """SIGHUP: take over what can change while viewers stay, say what could not.

        A faulty file changes nothing.
        """
        self.notifier.reloading()
        try:
            self._reload(load)
        finally:
            self.notifier.ready()

    def _reload(self, load: Callable[[], Config]) -> None:
        try:
            fresh = load()
            self.context.access.reload(fresh.auth)
        except (ConfigError, OSError) as error:
            log.error("the new configuration is not used: %s", error)  # noqa: TRY400
            return
        waiting: list[str] = []
        for name, service in self.services.items():
            waiting += service.reload(fresh.services[name], fresh.streams)
        for table in ("device", "http"):
            if getattr(fresh, table) != getattr(self.config, table):
                waiting.append(table)
        self.context.streams = fresh.streams
        self.config = replace(fresh, device=self.config.device, http=self.config.http)
        if waiting:
            log.warning("reloaded, but these wait for a restart: %s", ", ".join(waiting))
        else:
            log.info("reloaded")


def loopback_url(addresses: Iterable[tuple[str, str]]) -> str | None:
    """By which this machine reaches one of these (scheme, address) over loopback."""
    for scheme, address in addresses:
        host, _, port = address.rpartition(":")
        if host in ANY_HOSTS:
            return f"{scheme}://localhost:{port}"
        if is_loopback(host.strip("[]")):
            return f"{scheme}://{address}"
    return None


async def run(config: Config, access: Access, load: Callable[[], Config]) -> None:
    """Run until SIGTERM or SIGINT; SIGHUP reloads through `load`. Raises: ConfigError."""
    notifier = Notifier.from_environ()
    app = App(config, access, notifier)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_unhandled(app.context.faults))
    executor = ThreadPoolExecutor(thread_name_prefix=THREADS)
    loop.set_default_executor(executor)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, app.stop)
    loop.add_signal_handler(signal.SIGHUP, app.reload, load)
    log.info("porthole %s starts, pid %d", __version__, os.getpid())
    try:
        await app.start()
        await app.run()
        log.info("stopping")
    finally:
        await app.close()
        notifier.close()
        executor.shutdown(wait=False, cancel_futures=True)
        loop.set_default_executor(ThreadPoolExecutor(1))  # asyncio waits for that one's threads
        await _wait_threads()


async def _wait_threads() -> None:
    loop = asyncio.get_running_loop()
    end_s = loop.time() + THREADS_DEADLINE_S
    while are_threads_left() and loop.time() < end_s:  # noqa: ASYNC110 - they tell nobody
        await asyncio.sleep(0.01)


def are_threads_left() -> bool:
    """Whether one hangs, as in a name look-up that nobody answers: the process must not join it."""
    return any(thread.name.startswith(THREADS) for thread in threading.enumerate())


def _unhandled(faults: Faults) -> Callable[[asyncio.AbstractEventLoop, dict[str, object]], None]:
    """The loop's last resort, made quiet: one line a second of each kind."""

    def handle(_: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        error = context.get("exception")
        if isinstance(error, ApplianceError | OSError):
            faults.count("loop", type(error).__name__, str(error), log=log)
        else:
            faults.count("loop", "unhandled", f"{context.get('message')}: {error!r}", log=log)

    return handle
