"""Raspberry Pi's cameras through the system's picamera2: `picamera2:` is made of this."""
