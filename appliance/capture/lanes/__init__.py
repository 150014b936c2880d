"""Lanes: one stream of an input each, from libav's packets to access units of ours."""
