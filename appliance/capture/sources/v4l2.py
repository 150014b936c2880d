"""`v4l2:auto`, `v4l2:/dev/v4l/by-id/…` — a camera of the kernel, as every USB camera is.

Theory of operation: one thread waits for a picture, never longer than WAIT_S, hands it on, and
obeys commands between pictures. A camera that is gone (ENODEV) is closed and awaited for RETURN_S
under the name it is known by, then opened from the beginning, so that replugging it, even as
another number, is a gap and no new stream; after that the appliance takes over with its slate and
its pauses. Pictures that are empty or damaged are counted and left out. A camera that gives none
says so itself, before the appliance would end this process for it.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import time
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.capture.clock import monotonic_us
from appliance.capture.commands import Commands
from appliance.capture.fault import SourceFault
from appliance.capture.feeding import Feed, open_feed
from appliance.capture.options import Options
from appliance.capture.outlet import Sink
from appliance.capture.v4l2.camera import OpenedCamera, open_camera, wanted_of
from appliance.capture.v4l2.device import Device, Shot
from appliance.capture.v4l2.faults import LOST, explain
from appliance.capture.v4l2.kernel import KernelDevice
from appliance.capture.v4l2.places import (
    AUTO,
    DEV,
    Opener,
    Place,
    choose_auto,
    find_again,
    resolve,
    survey,
)
from appliance.wire.pipe.messages import Reason

if TYPE_CHECKING:
    from appliance.capture.microphone.microphone import Microphone

log = logging.getLogger(__name__)

WAIT_S = 0.25
RETURN_S = 8.0  # for an unplugged camera; the appliance ends a silent worker after ten
SILENCE_US = 9_000_000
SILENT_PICTURES = 5  # … or as long as so many take at the camera's own rate
MAX_ERRORS = 5  # one after the other, of a camera that is still there
MAX_GAP = 1000  # pictures the driver says it left out; more is another count
MAX_STAMP_AGE_US = 2_000_000  # an older stamp is of another clock
TELL_US = 1_000_000
IDLE_S = 0.005


def create(rest: str, options: Options) -> V4l2Source:
    """Raises: SourceFault unless it is `auto` or an absolute path."""
    if rest != AUTO and not rest.startswith("/"):
        raise SourceFault(
            Reason.SOURCE_INVALID,
            "write v4l2:auto, or v4l2: and what `porthole cameras` shows, such as "
            "v4l2:/dev/v4l/by-id/…",
        )
    return V4l2Source(rest, options)


class V4l2Source:
    """open_device, dev: the kernel's, unless a test has its own."""

    def __init__(
        self, name: str, options: Options, *, open_device: Opener = KernelDevice, dev: Path = DEV
    ) -> None:
        self._name = name
        self._options = options
        self._open_device = open_device
        self._dev = dev
        self._controls = dict(options.controls)
        self._waker = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._told_us = 0
        self._errors = 0
        self._picture_us = monotonic_us()  # when the newest whole one came
        self._stamp_us = 0
        self._sequence: int | None = None

    def run(self, sink: Sink, commands: Commands) -> None:
        commands.on_command = self._wake
        camera = self._open_first()
        feed, microphone = self._start_first(camera, sink, commands)
        try:
            if microphone is not None:
                microphone.start()
            while True:
                self._begin(camera, feed, microphone)
                lost = self._stream(camera, feed, sink, microphone)
                camera = self._reopen(camera.place, feed, lost)
        finally:
            if microphone is not None:
                microphone.stop()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            os.eventfd_write(self._waker, 1)

    # -- opening -------------------------------------------------------------------------------

    def _open_first(self) -> OpenedCamera:
        """Raises: SourceFault that says what to do."""
        try:
            if self._name == AUTO:
                place = choose_auto(survey(self._open_device, wanted_of(self._options), self._dev))
            else:
                place = resolve(self._name, self._dev)
            return open_camera(self._open_device, place, self._options, self._controls)
        except (OSError, RuntimeError) as error:  # a loop of links is a RuntimeError until 3.13
            path = self._name if self._name != AUTO else "the camera"
            cause = error if isinstance(error, OSError) else OSError(errno.ELOOP, str(error))
            raise explain(getattr(error, "filename", None) or path, cause) from None

    def _start_first(
        self, camera: OpenedCamera, sink: Sink, commands: Commands
    ) -> tuple[Feed, Microphone | None]:
        try:
            feed = open_feed(camera, self._options, sink, commands)
            microphone = self._make_microphone(camera, feed)
            camera.start()  # at last: loading libav takes longer than its buffers last
        except OSError as error:
            camera.device.close()
            raise explain(camera.place.name, error) from None
        except BaseException:
            camera.device.close()
            raise
        return feed, microphone

    def _make_microphone(self, camera: OpenedCamera, feed: Feed) -> Microphone | None:
        if self._options.audio == "none":
            return None
        from appliance.capture.microphone.microphone import Microphone

        return Microphone(
            self._options, feed.line.set_audio_track, feed.line.write_audio,
            beside=camera.place.node,
        )  # fmt: skip

    def _reopen(self, place: Place, feed: Feed, lost: OSError | None) -> OpenedCamera:
        """The same camera again. lost: by what it went, None if the appliance asked for this.

        Raises: SourceFault when it does not come back in time.
        """
        if lost is not None:
            log.warning("%s: %s; waiting for it", place.name, lost.strerror)
            feed.line.set_device({"device": place.name, "why": "unplugged, waiting for it"})
        deadline_s = time.monotonic() + RETURN_S
        refusal = lost or OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        while True:
            feed.line.obey()
            found = find_again(place)
            if found is not None:
                try:
                    return self._open_same(found, feed)
                except OSError as error:  # it is still on its way in, or out
                    refusal = error
            if time.monotonic() >= deadline_s:
                raise explain(place.name, refusal)
            self._pause()

    def _open_same(self, place: Place, feed: Feed) -> OpenedCamera:
        camera = open_camera(self._open_device, place, self._options, self._controls)
        try:
            if camera.choice.kind is not feed.kind:
                raise SourceFault(
                    Reason.SOURCE_LOST,
                    f"{place.name} came back with other formats; it is opened anew",
                )
            camera.start()
        except BaseException:
            camera.device.close()
            raise
        return camera

    def _pause(self) -> None:
        poll = select.poll()
        poll.register(self._waker, select.POLLIN)
        poll.poll(WAIT_S * 1000)
        self._clear_waker()

    def _clear_waker(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._waker)

    # -- streaming -----------------------------------------------------------------------------

    def _begin(self, camera: OpenedCamera, feed: Feed, microphone: Microphone | None) -> None:
        self._sequence = None
        self._errors = 0
        feed.begin(camera)
        log.info("%s is open: %s", camera.place.name, camera.choice.why)
        for refusal in camera.refusals:
            log.warning("%s: %s", camera.place.name, refusal)
        self._tell(camera, feed, microphone)

    def _tell(self, camera: OpenedCamera, feed: Feed, microphone: Microphone | None) -> None:
        self._told_us = monotonic_us()
        document = camera.describe()
        document["sound"] = microphone.status() if microphone is not None else None
        feed.line.set_device(document, camera.controls)

    def _stream(
        self, camera: OpenedCamera, feed: Feed, sink: Sink, microphone: Microphone | None
    ) -> OSError | None:
        """Until the camera is lost, by the error returned, or is to be opened anew.

        It is closed then. Raises: SourceFault if it is no use to go on.
        """
        try:
            while feed.line.obey() is None:
                self._clear_waker()
                self._take_one(camera.device, feed, sink)
                now_us = monotonic_us()
                self._check_silence(camera, now_us)
                if now_us - self._told_us >= TELL_US:
                    self._tell(camera, feed, microphone)
        except BrokenPipeError:  # the appliance is gone, not the camera
            raise
        except OSError as error:
            if error.errno in LOST:
                return error
            raise explain(camera.place.name, error) from None
        finally:
            camera.device.close()
        return None

    def _take_one(self, device: Device, feed: Feed, sink: Sink) -> None:
        """The next picture, if one comes in time. Raises: OSError, SourceFault."""
        try:
            if not device.wait(WAIT_S, self._waker):
                return
            shot = device.take()
            if shot is None:
                time.sleep(IDLE_S)  # a driver that is ready with nothing, again and again
            else:
                self._hand_on(device, shot, feed, sink)
        except OSError as error:
            if error.errno != errno.EIO or self._errors == MAX_ERRORS:
                raise
            self._errors += 1
            sink.drop(1)
            device.restart()
            log.warning("%s streams anew after an input/output error", device.path)

    def _hand_on(self, device: Device, shot: Shot, feed: Feed, sink: Sink) -> None:
        self._count_gap(shot.sequence, sink)
        time_us = self._stamp(shot.time_us)
        whole = not shot.is_damaged and shot.size_bytes > 0
        try:
            whole = whole and feed.take(shot.planes, time_us)
        finally:
            device.give_back(shot)
        if whole:
            self._picture_us = monotonic_us()
            self._errors = 0
        else:
            sink.drop(1)

    def _count_gap(self, sequence: int, sink: Sink) -> None:
        """Pictures the driver had no free buffer for, as we were too slow."""
        if self._sequence is not None and 1 < sequence - self._sequence <= MAX_GAP:
            sink.drop(sequence - self._sequence - 1)
        self._sequence = sequence

    def _stamp(self, time_us: int | None) -> int:
        """On our clock, growing; some drivers stamp by another clock, or with what is to come."""
        now_us = monotonic_us()
        if time_us is None or not now_us - MAX_STAMP_AGE_US < time_us <= now_us:
            time_us = now_us
        self._stamp_us = max(time_us, self._stamp_us + 1)
        return self._stamp_us

    def _check_silence(self, camera: OpenedCamera, now_us: int) -> None:
        patience_us = max(SILENCE_US, int(SILENT_PICTURES * 1_000_000 / camera.rate_hz))
        if now_us - self._picture_us > patience_us:
            raise SourceFault(
                Reason.SOURCE_LOST,
                f"{camera.place.name} is there but gives no picture: check its cable and power "
                "supply, and that no other camera takes the USB bus's bandwidth",
            )
