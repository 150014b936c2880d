"""Containers as sans-IO muxers and demuxers: FLV, MPEG-TS, fragmented MP4, and their playlists."""
