"""The one error tree of the appliance.

ApplianceError
├── ConfigError          the configuration or command line is wrong; the operator can mend it
├── PeerError            the other side broke its protocol: close it, one line, no traceback
├── MisuseError          our own code called something wrongly: a bug
├── StreamError
│   ├── NameInvalid      the name is not one a stream can have
│   ├── StreamNotFound   nobody publishes it and nothing can start it
│   ├── StreamBusy       somebody publishes it already
│   └── CodecUnsupported the asked form cannot carry this codec
├── LimitExceeded        a bound of ours is reached (viewers, connections, streams)
└── AuthError            who asks may not, or did not prove who it is
"""


class ApplianceError(Exception):
    """Root of everything the appliance raises on purpose."""


class ConfigError(ApplianceError):
    """A fault in the configuration; the text says where and what to write instead."""


class PeerError(ApplianceError):
    """The peer sent what its protocol forbids, or more than our limits allow."""


class MisuseError(ApplianceError):
    """A local caller broke a contract; never caused by a peer."""


class StreamError(ApplianceError):
    """Something about one stream."""


class NameInvalid(StreamError):
    """Not a name a stream can have; the text never repeats the name unescaped."""


class StreamNotFound(StreamError):
    """Nobody publishes this stream and no source is configured for it."""


class StreamBusy(StreamError):
    """Another publisher holds the stream's write lease."""


class CodecUnsupported(StreamError):
    """The container or protocol cannot carry this codec."""


class LimitExceeded(ApplianceError):
    """A configured bound is reached; try again later."""


class AuthError(ApplianceError):
    """Not allowed. `challenge` is True when credentials could help (401 rather than 403)."""

    def __init__(self, message: str, *, challenge: bool = True) -> None:
        super().__init__(message)
        self.challenge = challenge
