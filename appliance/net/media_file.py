"""What a media URL serves: head and body made once, kept outside the heap, sent by `sendfile`.

Head and body lie in one memory file (memfd_create), so the usual response is a single system call
that copies nothing into the kernel: measured at a third of the CPU of `send` from bytes. Where
there is no memory file left to be had (descriptors run out), bytes serve as well.
"""

from __future__ import annotations

import os
import re
import resource
import weakref
from collections.abc import Sequence
from email.utils import formatdate
from typing import ClassVar

from appliance.net.accept import RESERVED_FDS

Buffer = bytes | memoryview

MIN_FILE_BYTES = 16_384  # below, a copy costs less than a descriptor is worth
MAX_IOVEC = 512  # os.writev takes no more than IOV_MAX (1024) buffers

# RFC 9110 §14.1.2, one range of bytes. More digits than any file of ours has are no number.
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})\Z", re.ASCII | re.IGNORECASE)


def max_files() -> int:
    """How many descriptors media may take: a long window of many streams must leave room for
    connections, and beyond these bytes serve as well."""
    soft_limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(0, soft_limit - RESERVED_FDS) // 4


class MediaFile:
    """One immutable representation with its prebuilt heads.

    fields: further header lines, each ending in CRLF.
    descriptor: a memory file holding `head` and the body, or None; then `body` has the bytes.
    """

    in_files: ClassVar[int] = 0  # how many there are outside the heap

    __slots__ = (
        "__weakref__",
        "_fields",
        "body",
        "content_type",
        "descriptor",
        "head",
        "size_bytes",
    )

    def __init__(
        self,
        content_type: str,
        parts: Sequence[Buffer],
        *,
        cache_control: str = "no-cache",
        fields: str = "",
    ) -> None:
        self.content_type = content_type
        self.size_bytes = sum(map(len, parts))
        self._fields = (
            f"Content-Type: {content_type}\r\nCache-Control: {cache_control}\r\n"
            "Accept-Ranges: bytes\r\n"
            "Server: porthole\r\nX-Content-Type-Options: nosniff\r\n"
            f"Date: {formatdate(usegmt=True)}\r\n{fields}"
        )
        self.head = self.make_head()
        self.body = b""
        self.descriptor = self._store(parts) if self.size_bytes >= MIN_FILE_BYTES else None
        if self.descriptor is None:
            self.body = b"".join(parts)

    def make_head(self, extra: str = "") -> bytes:
        """The head of a response with the whole body."""
        return (
            f"HTTP/1.1 200 OK\r\n{self._fields}Content-Length: {self.size_bytes}\r\n{extra}\r\n"
        ).encode("latin-1")

    def make_range_head(self, start: int, end: int, extra: str = "") -> bytes:
        """The head of a response with the bytes from `start` up to but not including `end`."""
        return (
            f"HTTP/1.1 206 Partial Content\r\n{self._fields}Content-Length: {end - start}\r\n"
            f"Content-Range: bytes {start}-{end - 1}/{self.size_bytes}\r\n{extra}\r\n"
        ).encode("latin-1")

    def make_unsatisfiable_head(self, extra: str = "") -> bytes:
        """The head of the refusal of a range outside the body (RFC 9110 §15.5.17)."""
        return (
            f"HTTP/1.1 416 Range Not Satisfiable\r\n{self._fields}Content-Length: 0\r\n"
            f"Content-Range: bytes */{self.size_bytes}\r\n{extra}\r\n"
        ).encode("latin-1")

    def read(self, start: int, end: int) -> Buffer:
        """The body from `start` up to but not including `end`.

        With a memory file `start` may be negative, which lies within the head.
        """
        if self.descriptor is None:
            return memoryview(self.body)[start:end]
        return os.pread(self.descriptor, end - start, len(self.head) + start)

    def _store(self, parts: Sequence[Buffer]) -> int | None:
        if MediaFile.in_files >= max_files():
            return None
        try:
            descriptor = os.memfd_create("media", os.MFD_CLOEXEC)
        except OSError:
            return None
        try:
            _write_all(descriptor, [self.head, *parts])
        except OSError:  # no memory for it: the caller's bytes are there already
            os.close(descriptor)
            return None
        weakref.finalize(self, _close, descriptor)
        MediaFile.in_files += 1
        return descriptor


def _close(descriptor: int) -> None:
    MediaFile.in_files -= 1
    os.close(descriptor)


def _write_all(descriptor: int, parts: list[Buffer]) -> None:
    for index in range(0, len(parts), MAX_IOVEC):
        batch = parts[index : index + MAX_IOVEC]
        if os.writev(descriptor, batch) != sum(map(len, batch)):
            raise OSError("a short write to memory")


def parse_range(value: str, size_bytes: int) -> tuple[int, int] | None:
    """(start, end) of the one range that a Range header asks for, end exclusive.

    None: there is none that we serve (several ranges, another unit, a malformed one), so the whole
    body is the answer (RFC 9110 §14.2). start == end: it lies outside the body.
    """
    match = _RANGE.match(value)
    if match is None:
        return None
    first, last = match.groups()
    if not first:
        if not last:
            return None
        return max(0, size_bytes - int(last)) if int(last) else size_bytes, size_bytes
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size_bytes:
        return size_bytes, size_bytes
    return start, min(int(last) + 1, size_bytes) if last else size_bytes
