"""SRTP, sans-IO: keys, transforms and sessions of both directions (RFC 3711, RFC 7714)."""
