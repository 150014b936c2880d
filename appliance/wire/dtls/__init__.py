"""DTLS for SRTP, sans-IO: the device's certificate, fingerprints, and the passive side (RFC 5764).

The only folder that loads OpenSSL's Python bindings: import it where a peer needs it, not before.
"""
