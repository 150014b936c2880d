"""A peer of GStreamer's webrtcbin; run by the system's Python, which has its bindings.

gst_webrtc.py play|publish: writes its offer as one line of JSON, reads our answer as another, then
writes each state of its ICE as a line. It ends with its input.
"""

import json
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

H264 = "application/x-rtp,media=video,encoding-name=H264,payload=96,clock-rate=90000"
OPUS = "application/x-rtp,media=audio,encoding-name=OPUS,payload=97,clock-rate=48000"
PUBLISH = (
    "videotestsrc is-live=true ! video/x-raw,width=160,height=120 ! openh264enc ! h264parse "
    "! rtph264pay config-interval=1 ! application/x-rtp,payload=96 ! bin.sink_0"
)

Gst.init(None)
is_publishing = sys.argv[1] == "publish"
pipeline = Gst.Pipeline()
parts = "webrtcbin name=bin bundle-policy=max-bundle " + (PUBLISH if is_publishing else "")
pipeline.add(Gst.parse_bin_from_description(parts, False))
bin_ = pipeline.get_by_name("bin")


def say(value):
    sys.stdout.write(f"{json.dumps(value)}\n")
    sys.stdout.flush()


def told(*_):
    say(bin_.get_property("ice-connection-state").value_nick)


def take_answer(*_):
    line = sys.stdin.readline()
    if not line:
        loop.quit()
        return False
    _, message = GstSdp.SDPMessage.new_from_text(json.loads(line))
    kind = GstWebRTC.WebRTCSDPType.ANSWER
    answer = GstWebRTC.WebRTCSessionDescription.new(kind, message)
    bin_.emit("set-remote-description", answer, Gst.Promise.new())
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
bin_.connect("notify::ice-connection-state", told)
if not is_publishing:
    for caps in (H264, OPUS):
        direction = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
        bin_.emit("add-transceiver", direction, Gst.Caps.from_string(caps))
bin_.connect("on-negotiation-needed", needed)
loop = GLib.MainLoop()
GLib.io_add_watch(sys.stdin, GLib.PRIORITY_DEFAULT, GLib.IO_IN | GLib.IO_HUP, take_answer)
pipeline.set_state(Gst.State.PLAYING)
loop.run()
pipeline.set_state(Gst.State.NULL)
