"""What one publisher's connection has to do with its stream."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.containers.flv_tag_reader import FlvTagReader
from appliance.hub.publisher import Publisher
from appliance.media.unit import AccessUnit
from appliance.services.rtmp.settings import Settings
from appliance.wire.rtmp.message import Message, MessageType


class Publishing:
    """stream_id: RTMP's, of the messages that are media."""

    def __init__(self, stream_id: int, publisher: Publisher) -> None:
        self.stream_id = stream_id
        self.publisher = publisher
        self._reader = FlvTagReader()
        self._newest_us = publisher.since_us
        self._has_media = False
        self._told: set[str] = set()  # bounded by the words that the reader has

    def receive(self, message: Message, now_us: int) -> None:
        """Raises: PeerError for what cannot be carried, StreamBusy once another one took over."""
        for event in self._reader.receive(message.kind, message.timestamp_ms, message.payload):
            if isinstance(event, AccessUnit):
                self.publisher.write(event)
            else:
                self.publisher.describe(event)
        if message.kind != MessageType.DATA:
            self._has_media = True
            self._newest_us = now_us

    def take_rejects(self) -> Iterator[tuple[str, int, bool]]:
        """What came since it was asked last and is not carried: reason, count, whether it is the
        first of its kind."""
        for reason, count in self._reader.take_rejects().items():
            yield reason, count, reason not in self._told
            self._told.add(reason)

    def overdue(self, settings: Settings, now_us: int) -> str | None:
        """Why it should be ended, if it should."""
        if self.publisher.revoked_by is not None:
            return "another publisher took over"
        limit_us = settings.silence_us if self._has_media else settings.first_packet_us
        if now_us - self._newest_us > limit_us:
            return "publisher is silent"
        demand = self.publisher.stream.demand
        since_us = max(demand.idle_since_us, self.publisher.since_us)
        if settings.idle_publisher_us and not demand.viewers:
            return "nobody watches" if now_us - since_us > settings.idle_publisher_us else None
        return None
