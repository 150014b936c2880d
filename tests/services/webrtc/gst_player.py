"""A viewer of GStreamer's webrtcbin; run by the system's Python, which has its bindings.

gst_player.py KIND…: writes its offer as one line of JSON, reads our answer as another, then writes
what it has decoded, twice a second. KIND is video or audio. It ends with its input.
"""

import json
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

CAPS = {
    "video": "application/x-rtp,media=video,encoding-name=H264,payload=96,clock-rate=90000",
    "audio": "application/x-rtp,media=audio,encoding-name=OPUS,payload=97,clock-rate=48000",
}
WAYS = {
    "video": "rtph264depay ! avdec_h264 ! fakesink name=sink sync=false signal-handoffs=true",
    "audio": "rtpopusdepay ! opusdec ! fakesink name=sink sync=false signal-handoffs=true",
}

Gst.init(None)
pipeline = Gst.Pipeline()
bin_ = Gst.ElementFactory.make("webrtcbin", "bin")
bin_.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
pipeline.add(bin_)
decoded = {"video": 0, "audio": 0}


def say(value):
    sys.stdout.write(f"{json.dumps(value)}\n")
    sys.stdout.flush()


def count(kind):
    def handed_off(*_):
        decoded[kind] += 1

    return handed_off


def added(_, pad):
    if pad.direction != Gst.PadDirection.SRC:
        return
    kind = pad.get_current_caps().get_structure(0).get_string("media")
    way = Gst.parse_bin_from_description(WAYS[kind], True)
    way.get_by_name("sink").connect("handoff", count(kind))
    pipeline.add(way)
    way.sync_state_with_parent()
    pad.link(way.get_static_pad("sink"))


def tell():
    say(decoded)
    return True


def take_answer(*_):
    line = sys.stdin.readline()
    if not line:
        loop.quit()
        return False
    _, message = GstSdp.SDPMessage.new_from_text(json.loads(line))
    kind = GstWebRTC.WebRTCSDPType.ANSWER
    answer = GstWebRTC.WebRTCSessionDescription.new(kind, message)
    bin_.emit("set-remote-description", answer, Gst.Promise.new())
    GLib.timeout_add(500, tell)
    return True


def made(promise):
    reply = promise.get_reply()  # which owns the offer
    offer = reply.get_value("offer")
    bin_.emit("set-local-description", offer, Gst.Promise.new())
    say(offer.sdp.as_text())


def needed(*_):
    bin_.emit("create-offer", None, Gst.Promise.new_with_change_func(made))


agent = bin_.get_property("ice-agent")  # kept: in 1.22 the bin's own reference goes with it
agent.emit("add-local-ip-address", "127.0.0.1")  # libnice leaves it out
bin_.connect("pad-added", added)
for name in sys.argv[1:]:
    direction = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
    bin_.emit("add-transceiver", direction, Gst.Caps.from_string(CAPS[name]))
bin_.connect("on-negotiation-needed", needed)
loop = GLib.MainLoop()
GLib.io_add_watch(sys.stdin, GLib.PRIORITY_DEFAULT, GLib.IO_IN | GLib.IO_HUP, take_answer)
pipeline.set_state(Gst.State.PLAYING)
loop.run()
pipeline.set_state(Gst.State.NULL)
