"""Which stream a peer means: its tcUrl, app and stream name in all the spellings there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

MAX_QUERY_FIELDS = 64  # against a name of a thousand parameters
VHOST_FIELDS = ("vhost", "domain")
INSTANCE = "_definst_"  # Flash's word for an app without instances


@dataclass(frozen=True, slots=True)
class Target:
    """name: ``app/stream``, not yet checked; query: parameters of the app and of the stream, the
    latter win; vhost: as asked for, else the host of the URL."""

    name: str
    app: str
    stream: str
    vhost: str
    query: Mapping[str, str] = field(repr=False)


def resolve(tc_url: str, app: str, stream: str) -> Target:
    """``live?vhost=v``, ``live...vhost...v``, ``live/_definst_``, ``camera?key=k``, ``mp4:camera``,
    a stream behind the app's query as FMLE sends it: one way to say each."""
    app, app_query = _split_query(app)
    stream, stream_query = _split_query(stream)
    if not stream:  # FMLE: all of it stands in the app, its query in the middle
        app_query, _, stream = app_query.partition("/")
        stream, stream_query = _split_query(stream)
    app = "/".join(part for part in unquote(app).split("/") if part and part != INSTANCE)
    stream = unquote(stream).strip("/").removeprefix("flv:").removeprefix("mp4:")
    query = _fields(app_query) | _fields(stream_query)
    vhost = next((query[name] for name in VHOST_FIELDS if query.get(name)), _host(tc_url))
    return Target(f"{app}/{stream}" if stream else app, app, stream, vhost, query)


def _split_query(text: str) -> tuple[str, str]:
    """``a?b=c``, and ``a...b...c`` which SRS has for encoders that drop a question mark."""
    path, _, query = text.partition("?")
    if not query and "..." in path:
        path, _, dotted = path.partition("...")
        words = dotted.split("...")
        query = "&".join(
            f"{name}={value}" for name, value in zip(words[::2], words[1::2], strict=False)
        )
    return path, query


def _fields(query: str) -> dict[str, str]:
    pairs = parse_qsl(query.replace("?", "&")[:4096], keep_blank_values=True)
    return dict(pairs[:MAX_QUERY_FIELDS])


def _host(tc_url: str) -> str:
    """Of ``rtmp://host:1935/app``; empty if it has none."""
    authority = tc_url.partition("://")[2].partition("/")[0].rpartition("@")[2]
    if authority.startswith("["):
        return authority.partition("]")[0].removeprefix("[")
    return authority.partition(":")[0]
