"""The functions of the system's libasound.so.2 that we use, by ctypes.

The system's, not the copy inside libav's wheels: only that one reads /etc/asound.conf and has the
system's plugins. What it would print on standard error is kept out of the log; callers tell what
went wrong from the numbers it returns.
"""

from __future__ import annotations

import ctypes
import struct
from ctypes import POINTER, byref, c_char_p, c_int, c_long, c_uint, c_ulong, c_void_p
from functools import cache

from appliance.errors import ApplianceError

LIBRARY = "libasound.so.2"
PACKAGES = "libasound2t64 (Debian 12: libasound2)"
TIMESPEC_BYTES = 16
_UNTOUCHED = b"\xff" * 8

_HANDLE, _OUT_INT, _OUT_UINT, _OUT_ULONG = (
    c_void_p,
    POINTER(c_int),
    POINTER(c_uint),
    POINTER(c_ulong),
)
_PLAIN: dict[str, tuple[object, ...]] = {
    "snd_card_next": (_OUT_INT,),
    "snd_ctl_open": (POINTER(c_void_p), c_char_p, c_int),
    "snd_ctl_close": (_HANDLE,),
    "snd_ctl_card_info": (_HANDLE, _HANDLE),
    "snd_ctl_card_info_malloc": (POINTER(c_void_p),),
    "snd_ctl_pcm_next_device": (_HANDLE, _OUT_INT),
    "snd_ctl_pcm_info": (_HANDLE, _HANDLE),
    "snd_pcm_info_malloc": (POINTER(c_void_p),),
    "snd_pcm_open": (POINTER(c_void_p), c_char_p, c_int, c_int),
    "snd_pcm_close": (_HANDLE,),
    "snd_pcm_prepare": (_HANDLE,),
    "snd_pcm_resume": (_HANDLE,),
    "snd_pcm_start": (_HANDLE,),
    "snd_pcm_wait": (_HANDLE, c_int),
    "snd_pcm_status": (_HANDLE, _HANDLE),
    "snd_pcm_status_malloc": (POINTER(c_void_p),),
    "snd_pcm_status_get_state": (_HANDLE,),
    "snd_pcm_hw_params_malloc": (POINTER(c_void_p),),
    "snd_pcm_hw_params_any": (_HANDLE, _HANDLE),
    "snd_pcm_hw_params_set_access": (_HANDLE, _HANDLE, c_int),
    "snd_pcm_hw_params_set_format": (_HANDLE, _HANDLE, c_int),
    "snd_pcm_hw_params_set_channels": (_HANDLE, _HANDLE, c_uint),
    "snd_pcm_hw_params_set_rate_near": (_HANDLE, _HANDLE, _OUT_UINT, _OUT_INT),
    "snd_pcm_hw_params_set_period_size_near": (_HANDLE, _HANDLE, _OUT_ULONG, _OUT_INT),
    "snd_pcm_hw_params_set_buffer_size_near": (_HANDLE, _HANDLE, _OUT_ULONG),
    "snd_pcm_hw_params": (_HANDLE, _HANDLE),
    "snd_pcm_sw_params_malloc": (POINTER(c_void_p),),
    "snd_pcm_sw_params_current": (_HANDLE, _HANDLE),
    "snd_pcm_sw_params_set_tstamp_mode": (_HANDLE, _HANDLE, c_int),
    "snd_pcm_sw_params_set_tstamp_type": (_HANDLE, _HANDLE, c_int),
    "snd_pcm_sw_params": (_HANDLE, _HANDLE),
}  # fmt: skip
_SETTERS: dict[str, tuple[object, ...]] = {
    "snd_ctl_card_info_free": (_HANDLE,),
    "snd_pcm_info_free": (_HANDLE,),
    "snd_pcm_info_set_device": (_HANDLE, c_uint),
    "snd_pcm_info_set_subdevice": (_HANDLE, c_uint),
    "snd_pcm_info_set_stream": (_HANDLE, c_int),
    "snd_pcm_status_free": (_HANDLE,),
    "snd_pcm_status_get_htstamp": (_HANDLE, c_void_p),
    "snd_pcm_hw_params_free": (_HANDLE,),
    "snd_pcm_sw_params_free": (_HANDLE,),
}
_TEXTS: dict[str, tuple[object, ...]] = {
    "snd_strerror": (c_int,),
    "snd_ctl_card_info_get_id": (_HANDLE,),
    "snd_ctl_card_info_get_name": (_HANDLE,),
    "snd_pcm_info_get_name": (_HANDLE,),
}
_LONGS: dict[str, tuple[object, ...]] = {
    "snd_pcm_status_get_delay": (_HANDLE,),
    "snd_pcm_readi": (_HANDLE, c_void_p, c_ulong),
}
_ULONGS: dict[str, tuple[object, ...]] = {"snd_pcm_status_get_avail": (_HANDLE,)}

_ON_ERROR = ctypes.CFUNCTYPE(None, c_char_p, c_int, c_char_p, c_int, c_char_p)
# It is called with more arguments than these, which C lets it ignore.
_be_quiet = _ON_ERROR(lambda file, line, function, error, form: None)


class AlsaFault(ApplianceError):
    """Sound cannot be had; the text is one sentence for a person."""


@cache
def libasound() -> ctypes.CDLL:
    """Raises: AlsaFault if this machine has none, or one without what we need."""
    try:
        library = ctypes.CDLL(LIBRARY)
        for table, result in (
            (_PLAIN, c_int), (_SETTERS, None), (_TEXTS, c_char_p),
            (_LONGS, c_long), (_ULONGS, c_ulong),
        ):  # fmt: skip
            for name, arguments in table.items():
                function = getattr(library, name)
                function.restype, function.argtypes = result, arguments
        library.snd_lib_error_set_handler.argtypes = (_ON_ERROR,)
        library.snd_lib_error_set_handler(_be_quiet)
    except (OSError, AttributeError) as error:
        raise AlsaFault(
            f"sound needs ALSA's library: install the package {PACKAGES} ({error})"
        ) from None
    return library


def error_text(result: int) -> str:
    """What a negative result means, in ALSA's words."""
    return bytes(libasound().snd_strerror(result)).decode(errors="replace")


class Record:
    """One of ALSA's opaque structures (`snd_pcm_info`, …), freed with this object."""

    __slots__ = ("_free", "pointer")

    def __init__(self, kind: str) -> None:
        library = libasound()
        self._free = getattr(library, f"{kind}_free")
        self.pointer = c_void_p()
        if getattr(library, f"{kind}_malloc")(byref(self.pointer)) < 0:
            raise MemoryError(kind)

    def __del__(self) -> None:
        if self.pointer:
            self._free(self.pointer)


def timespec_us(raw: bytes, long_bytes: int = ctypes.sizeof(c_long)) -> int:
    """A `struct timespec` that was written over TIMESPEC_BYTES of 0xFF, in microseconds.

    On 32-bit systems it has 8 bytes or, since Debian 13 (64-bit time_t), 16: the untouched rest
    tells which.
    """
    if long_bytes == 4 and raw.endswith(_UNTOUCHED):
        seconds, nanoseconds = struct.unpack_from("<ii", raw)
    else:
        seconds, nanoseconds = struct.unpack_from("<qi", raw)
    return int(seconds) * 1_000_000 + int(nanoseconds) // 1000
