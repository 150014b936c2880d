"""The pages' files, read once at the start into a fixed table: no request ever names a file.

Text is held gzipped only and unpacked for the rare client that cannot take gzip. Every file is
served at ``/web/<version>/<name>``, where it never changes, so that the relative imports of
scripts carry the version along; and at ``/web/<name>``, where clients must ask again.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import re
from dataclasses import dataclass
from html import escape
from pathlib import Path

from aiohttp import web

from appliance.net.http import Request

log = logging.getLogger(__name__)

FOLDER = Path(__file__).parents[2] / "web"
CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webmanifest": "application/manifest+json",
}
REQUIRED = ("vendor/hls.mjs", "vendor/mpegts.mjs", "vendor/uqr.mjs")
_NO_WEIGHT = re.compile(r"\s*q\s*=\s*0(\.0*)?\s*\Z")


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it goes out; `body` is gzipped if `is_gzip`."""

    content_type: str
    body: bytes
    is_gzip: bool
    etag: str


class Assets:
    """version: of all files together; it changes when any of them does."""

    def __init__(self, device_name: str, folder: Path = FOLDER) -> None:
        files = _read(folder)
        texts = {
            path.name: path.read_text()
            for path in sorted(folder.iterdir())
            if path.suffix in {".html", ".webmanifest"}
        }
        self.version = _version(texts, files)
        base = f"/web/{self.version}"
        in_html = {"@WEB@": base, "@DEVICE@": escape(device_name)}
        in_json = {"@WEB@": base, "@DEVICE@": json.dumps(device_name)[1:-1]}
        self._pages: dict[str, str] = {}
        for name, text in texts.items():
            if name.endswith(".html"):
                self._pages[name] = _fill(text, in_html)
            else:
                files[name] = _asset(name, _fill(text, in_json).encode())
        self.table: dict[str, Asset] = {}
        for name, asset in files.items():
            self.table[f"{base}/{name}"] = self.table[f"/web/{name}"] = asset
        for name in REQUIRED:
            if name not in files:
                log.warning("the pages lack %s: run appliance/web/vendor.sh", name)

    def page(self, name: str, **values: str) -> str:
        """The page with ``@KEY@`` replaced by `values`, escaped."""
        return _fill(self._pages[name], {f"@{key.upper()}@": escape(values[key]) for key in values})

    def respond(self, request: Request, path: str) -> web.Response | None:
        """The file at `path`, or None if there is none there."""
        asset = self.table.get(path)
        if asset is None:
            return None
        is_fixed = path.startswith(f"/web/{self.version}/")
        headers = {
            "Cache-Control": "public, max-age=31536000, immutable" if is_fixed else "no-cache",
            "ETag": asset.etag,
            "Vary": "Accept-Encoding",
        }
        if _matches(request.headers.get("If-None-Match", ""), asset.etag):
            return web.Response(status=304, headers=headers)
        headers["Content-Type"] = asset.content_type
        body = asset.body
        if asset.is_gzip and takes_gzip(request.headers.get("Accept-Encoding", "")):
            headers["Content-Encoding"] = "gzip"
        elif asset.is_gzip:
            body = gzip.decompress(body)
        return web.Response(body=body, headers=headers)


def takes_gzip(accept_encoding: str) -> bool:
    """RFC 9110 §12.5.3, as far as it concerns gzip: named, or else any, and not with weight 0."""
    takes = {}
    for choice in accept_encoding.lower().split(","):
        name, _, weight = choice.partition(";")
        takes[name.strip()] = _NO_WEIGHT.match(weight) is None
    return takes.get("gzip", takes.get("*", False))


def _matches(if_none_match: str, etag: str) -> bool:
    """RFC 9110 §13.1.2: weak comparison with any of the list."""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag.removeprefix("W/") in tags


def _read(folder: Path) -> dict[str, Asset]:
    """Every file of a kind we serve, by its name below the folder; ``.gz`` is how it was stored."""
    files: dict[str, Asset] = {}
    for path in sorted(folder.rglob("*")):
        stored = path.relative_to(folder).as_posix()
        name = stored.removesuffix(".gz")
        if Path(name).suffix in CONTENT_TYPES and path.is_file():
            files[name] = _asset(name, path.read_bytes(), is_gzip=name != stored)
    return files


def _asset(name: str, content: bytes, *, is_gzip: bool = False) -> Asset:
    suffix = Path(name).suffix
    # Weak, because the same tag stands for both encodings.
    etag = f'W/"{hashlib.sha256(content).hexdigest()[:16]}"'
    if not is_gzip and suffix != ".png":
        content, is_gzip = gzip.compress(content, 9, mtime=0), True
    return Asset(CONTENT_TYPES[suffix], content, is_gzip, etag)


def _version(texts: dict[str, str], files: dict[str, Asset]) -> str:
    digest = hashlib.sha256()
    for name, asset in files.items():
        digest.update(f"{name} {asset.etag}\0".encode())
    for name, text in texts.items():
        digest.update(f"{name} {len(text)} {text}\0".encode())
    return digest.hexdigest()[:12]


def _fill(text: str, values: dict[str, str]) -> str:
    """All at once, so that a value which looks like a key stays what it is."""
    pattern = re.compile("|".join(map(re.escape, values)) or r"(?!)")
    return pattern.sub(lambda found: values[found[0]], text)
