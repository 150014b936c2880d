"""Sockets, HTTP, TLS, fan-out and supervision: the only layer that touches the network."""
