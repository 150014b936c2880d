"""Addresses to listen on: ``host:port`` parsed and bound, with faults an operator can mend."""

from __future__ import annotations

import errno
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from appliance.errors import ConfigError

ANY_HOSTS = frozenset({"[::]", "0.0.0.0"})  # noqa: S104 - how a listener calls all addresses
BACKLOG = 512  # a crowd reconnecting at once after a power cut

IpAddress = IPv4Address | IPv6Address


def parse_address(text: str) -> tuple[str, int]:
    """``host:port``, ``[v6]:port`` or ``:port`` (host empty). Raises: ConfigError."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ConfigError(f'"{text}": write an IPv6 address in brackets, like "[::1]:8080"')
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ConfigError(f'"{text}" is not an address; write "host:port" or ":port"')
    return host, int(port)


def format_address(sockname: tuple[str, int] | tuple[str, int, int, int]) -> str:
    """What `getsockname` returned, as ``host:port``."""
    host, port = sockname[0], sockname[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def peer_address(host: str) -> str:
    """The peer's address without zone, an IPv4 peer of a dual-stack socket as plain IPv4."""
    host = host.partition("%")[0]
    return host[7:] if host.startswith("::ffff:") and "." in host else host


def is_ip(host: str) -> bool:
    """Whether it is an address, perhaps with a zone, and no name."""
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    return host == "::1" or host.startswith("127.")


def reachable_urls(scheme: str, address: str) -> list[str]:
    """For people; a listener on all interfaces is told by names that work."""
    host, _, port = address.rpartition(":")
    if host not in ANY_HOSTS:
        return [f"{scheme}://{address}/"]
    return [f"{scheme}://localhost:{port}/", f"{scheme}://{socket.gethostname()}:{port}/"]


def listen_tcp(text: str) -> list[socket.socket]:
    """Non-blocking listening sockets for one configured address.

    ``:port`` is one dual-stack socket, or IPv4 alone on a device without IPv6. A host name is
    looked up (blocking: at start only) and each of its addresses bound. Raises: ConfigError.
    """
    return _bind_all(text, socket.SOCK_STREAM)


def bind_udp(text: str) -> list[socket.socket]:
    """Non-blocking bound datagram sockets for one configured address. Raises: ConfigError."""
    return _bind_all(text, socket.SOCK_DGRAM)


def _bind_all(text: str, kind: socket.SocketKind) -> list[socket.socket]:
    host, port = parse_address(text)
    try:
        if not host:
            return [_bind_any(port, kind)]
        found = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigError(_explain(text, port, error)) from error
    bound: list[socket.socket] = []
    for family, _, _, _, sockname in dict.fromkeys(found):
        try:
            bound.append(_bind(family, kind, sockname))
        except OSError as error:
            for made in bound:
                made.close()
            raise ConfigError(_explain(text, port, error)) from error
    return bound


def _bind_any(port: int, kind: socket.SocketKind) -> socket.socket:
    try:
        return _bind(socket.AF_INET6, kind, ("::", port), dual_stack=True)
    except OSError as error:
        if error.errno not in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}:
            raise
    return _bind(socket.AF_INET, kind, ("0.0.0.0", port))


def _bind(
    family: int, kind: socket.SocketKind, sockname: object, *, dual_stack: bool = False
) -> socket.socket:
    sock = socket.socket(family, kind)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual_stack)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
        sock.bind(sockname)  # type: ignore[arg-type]  # what getaddrinfo gave
        if kind == socket.SOCK_STREAM:
            sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _explain(text: str, port: int, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            owner = _listener_name(port)
            return (
                f'listen = "{text}": port {port} is taken by {owner}; '
                "stop it, or configure another port"
            )
        case errno.EACCES | errno.EPERM:
            return (
                f'listen = "{text}": ports below 1024 are for root; '
                "use a higher port or give the service CAP_NET_BIND_SERVICE"
            )
        case errno.EADDRNOTAVAIL:
            return f'listen = "{text}": this device does not have that address'
        case _:
            return f'listen = "{text}": {error.strerror or error}'


def _listener_name(port: int) -> str:
    """Who holds the port, as far as /proc tells this user."""
    inodes = _listening_inodes(port)
    if not inodes:
        return "another program"
    targets = {f"socket:[{inode}]" for inode in inodes}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(fd.readlink()) in targets for fd in (process / "fd").iterdir()):
                name = (process / "comm").read_text().strip()
                return f"{name} (process {process.name})"
        except OSError:
            continue  # another user's process, or one that just ended
    return "another program that listens there already"


def _listening_inodes(port: int) -> set[str]:
    inodes: set[str] = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        try:
            lines = Path("/proc/net", table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split()
            is_open = columns[3] == ("0A" if table.startswith("tcp") else "07")
            if is_open and int(columns[1].rpartition(":")[2], 16) == port:
                inodes.add(columns[9])
    return inodes


def parse_ip(text: str) -> IpAddress | None:
    """An IP literal, bracketed or not; None if it is a name."""
    try:
        return ip_address(text.strip("[]"))
    except ValueError:
        return None
