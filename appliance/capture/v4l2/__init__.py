"""Cameras of the kernel's Video4Linux API: found, asked what they offer, read. No libav here."""
