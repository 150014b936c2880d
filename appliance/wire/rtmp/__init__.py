"""RTMP, both roles, sans-IO: handshake, chunk stream, control messages, commands."""
