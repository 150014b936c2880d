"""/api/v1/cameras/: what each local camera is and does, and settings changed while it runs.

Who may: the action `api`, of a key that is limited to some streams for their cameras only.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from appliance.errors import AuthError, ConfigError, StreamNotFound
from appliance.hub.access import Action
from appliance.hub.cameras import Camera
from appliance.net.http import HttpError, Request
from appliance.services.api.change import parse_change
from appliance.services.contract import Context, credentials_of

PREFIX = "/api/v1/cameras/"
MAX_CHANGE_BYTES = 16 << 10

log = logging.getLogger(__name__)


class CameraPages:
    """The payloads of the routes; each request has been let in to the API as a whole before."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def show(self, request: Request) -> dict[str, Any]:
        """The list of all cameras the asker may see, or one of them by name.

        Raises: HttpError (404), AuthError.
        """
        if request.path == PREFIX:
            cameras = [one for one in self._context.cameras.all() if await self._may(one, request)]
            shapes = [camera_shape(camera) for camera in cameras]
            return {"cameras": shapes, "total": len(shapes)}
        return {"camera": camera_shape(await self._find(request))}

    async def change(self, request: Request) -> dict[str, Any]:
        """Takes over what the body says, all or nothing; the camera as it is then.

        Raises: HttpError (400 with what is possible, 404, 503), AuthError, PeerError.
        """
        camera = await self._find(request)
        try:
            values = parse_change(await request.read_json(MAX_CHANGE_BYTES))
            await camera.change(values)
        except ConfigError as error:
            raise HttpError(400, str(error)) from error
        except StreamNotFound as error:  # its worker ended just now
            raise HttpError(503, f"{error}; try again") from error
        except TimeoutError as error:
            raise HttpError(503, "the camera does not answer; ask for its state again") from error
        log.info("%s: changed by %s: %s", camera.stream_name, request.peer_ip, _told(values))
        return {"camera": camera_shape(camera)}

    async def _find(self, request: Request) -> Camera:
        """By what follows the prefix: the camera's name or its stream's."""
        cameras, name = self._context.cameras, request.path.removeprefix(PREFIX)
        try:
            camera = cameras.find(name)
        except StreamNotFound as error:
            names = ", ".join([one.name for one in cameras.all() if await self._may(one, request)])
            text = str(error) if name else "name a camera"
            raise HttpError(404, f"{text}; there are {names or 'none'}") from error
        await self._check(camera, request)
        return camera

    async def _may(self, camera: Camera, request: Request) -> bool:
        try:
            await self._check(camera, request)
        except AuthError:
            return False
        return True

    async def _check(self, camera: Camera, request: Request) -> None:
        """Raises: AuthError, LimitExceeded."""
        await self._context.access.check(
            Action.API, camera.stream_name, request.peer_ip, credentials_of(request)
        )


def camera_shape(camera: Camera) -> dict[str, Any]:
    return {"name": camera.name, "stream": camera.stream_name} | camera.describe()


def encode_exactly(document: dict[str, Any]) -> str:
    """Compact JSON. A control's step may be a thousandth, so nothing is rounded as SRS does."""
    return json.dumps(document, separators=(",", ":"), allow_nan=False)


def _told(values: dict[str, Any]) -> str:
    """What was changed, for the log: the names, and values that say nothing of anybody."""
    words = []
    for name, value in values.items():
        match name:
            case "controls":
                words += [f"{control}={setting}" for control, setting in value.items()]
            case "text":
                words.append("text")
            case _:
                words.append(f"{name}={value}")
    return ", ".join(words)[:200]
