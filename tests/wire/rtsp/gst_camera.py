"""A camera of GStreamer's RTSP server; run by the system's Python, which has its bindings.

gst_camera.py LAUNCH [USER PASSWORD] [OPTION…]: says its port on the first line, then serves
/camera. --hold: answers nobody before a line is read. --by: udp, multicast or tcp only.
--tls FILE: certificate and key, in PEM. --host, --port: of its own. --interface: of multicast.
--once: it is not there any more when the film is over.
"""

import argparse
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("launch")
parser.add_argument("credentials", nargs="*")
parser.add_argument("--hold", action="store_true")
parser.add_argument("--once", action="store_true")
parser.add_argument("--by", default="")
parser.add_argument("--tls", default="")
parser.add_argument("--host", default="127.0.0.1")
parser.add_argument("--port", default="0")
parser.add_argument("--interface", default="lo")
given = parser.parse_args()

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address(given.host)
server.set_service(given.port)
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(f"( {given.launch} )")
factory.set_shared(True)
if given.by:
    ways = {"udp": "UDP", "multicast": "UDP_MCAST", "tcp": "TCP"}
    factory.set_protocols(getattr(GstRtsp.RTSPLowerTrans, ways[given.by]))
if given.by == "multicast":
    pool = GstRtspServer.RTSPAddressPool()
    pool.add_range("239.255.78.1", "239.255.78.9", 25_000, 25_040, 1)
    factory.set_address_pool(pool)
    factory.set_multicast_iface(given.interface)
if given.credentials or given.tls:
    auth = GstRtspServer.RTSPAuth()
    server.set_auth(auth)
    role = "viewer"
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", role)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_role(role)
    permissions.add_permission_for_role(role, "media.factory.access", True)
    permissions.add_permission_for_role(role, "media.factory.construct", True)
    factory.set_permissions(permissions)
    if given.credentials:
        user, password = given.credentials
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(user, password, token)
    else:
        auth.set_default_token(token)
    if given.tls:
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(given.tls))
mounts = server.get_mount_points()
if given.once:
    factory.connect(
        "media-configure",
        lambda _, media: media.connect("unprepared", lambda _: mounts.remove_factory("/camera")),
    )
mounts.add_factory("/camera", factory)
server.attach(None)
sys.stdout.write(f"{server.get_bound_port()}\n")
sys.stdout.flush()
if given.hold:
    sys.stdin.readline()
GLib.MainLoop().run()
