"""Payload formats: how each codec's units travel in RTP packets, one module per codec."""
