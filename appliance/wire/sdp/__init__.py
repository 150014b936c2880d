"""Session descriptions (SDP): parsed, printed, and what their media sections mean for us."""
