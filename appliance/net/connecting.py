"""What is said of a connection that nobody took: in the words of the system, without Python's."""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl

# Nobody listens, or no way leads there: it is off, starting, or unplugged. What is not among them,
# such as a reset, comes from somebody who is there.
ABSENCES = frozenset(
    {
        errno.ECONNREFUSED,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ETIMEDOUT,
    }
)
_FAILED = re.compile(r"\[Errno (\d+)\] Connect call failed")


def legible(error: OSError) -> OSError:
    """asyncio's ``Connect call failed ('192.168.1.20', 554)`` as ``connection refused``; of several
    addresses the first one's. Other errors as they are."""
    if isinstance(error, ssl.SSLError | socket.gaierror):
        return error
    number = error.errno
    if number is None and (found := _FAILED.search(str(error))):
        number = int(found[1])
    elif number is None or not str(error.strerror).startswith("Connect call failed"):
        return error
    text = os.strerror(number)
    return OSError(number, text[:1].lower() + text[1:])


def is_absence(error: OSError) -> bool:
    """Of connecting: nobody was there who could have been asked anything."""
    return not isinstance(error, ssl.SSLError | socket.gaierror) and error.errno in ABSENCES
