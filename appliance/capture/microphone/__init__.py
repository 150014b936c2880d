"""Sound of a device of this machine: ALSA in, AAC out, on CLOCK_MONOTONIC."""
