"""The request target (RFC 9112 §3.2): decoded once, checked, and made fit for a log line."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote_to_bytes

from appliance.errors import PeerError

MAX_TARGET = 4096
MAX_FIELDS = 64  # a query of ten thousand fields
SECRETS = frozenset(
    {
        *("access_token", "auth", "authorization", "jwt", "key", "pass", "passphrase"),
        *("passwd", "password", "pwd", "secret", "sig", "sign", "signature", "t", "token"),
    }
)


def split_target(target: str) -> tuple[str | None, str, str]:
    """(authority, path, query) still encoded; authority only for the absolute form.

    Raises: PeerError if it is none of origin-form, absolute-form and ``*``.
    """
    if len(target) > MAX_TARGET:
        raise PeerError("the request target is too long")
    authority = None
    rest = target.partition("#")[0]
    if not rest.startswith("/"):
        if rest == "*":
            return None, "*", ""
        scheme, separator, rest = rest.partition("://")
        if not separator or scheme.lower() not in {"http", "https"}:
            raise PeerError("the request target is not a path")
        end = min((i for i in (rest.find("/"), rest.find("?")) if i >= 0), default=len(rest))
        authority, rest = rest[:end], rest[end:]
    path, _, query = rest.partition("?")
    return authority, path or "/", query


def decode_path(path: str) -> str:
    """Percent-decoded exactly once (RFC 3986 §2.4).

    Raises: PeerError for invalid UTF-8, control characters, and dot or empty segments, which no
    path of ours has and traversals do.
    """
    if "%" in path or not path.isascii():
        try:
            path = unquote_to_bytes(path.encode("utf-8")).decode("utf-8")
        except UnicodeError as error:  # also surrogates, which stand for raw invalid bytes
            raise PeerError("the path is not UTF-8") from error
    if not path.isprintable():
        raise PeerError("the path has unprintable characters")
    if "//" in path or "/." in path and not {".", ".."}.isdisjoint(path.split("/")):
        raise PeerError("the path has a dot or an empty segment")
    return path


def parse_query(query: str) -> dict[str, str]:
    """Fields of the query, decoded; of a repeated one the first. Raises: PeerError."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except (ValueError, UnicodeError) as error:
        raise PeerError("the query is malformed") from error
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields.setdefault(name, value)
    return fields


def redact(path: str, query: str) -> str:
    """Path and query for logs: without the values of fields that carry secrets."""
    if not query:
        return path
    fields = []
    for field in query.split("&"):
        name, equals, _ = field.partition("=")
        is_secret = unquote_to_bytes(name).decode("latin-1").lower() in SECRETS
        fields.append(f"{name}{equals}***" if equals and is_secret else field)
    return f"{path}?{'&'.join(fields)}"
