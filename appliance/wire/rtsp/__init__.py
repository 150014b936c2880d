"""RTSP 1.0 (RFC 2326), sans-IO: both roles, their messages, authentication and HTTP tunnel."""
