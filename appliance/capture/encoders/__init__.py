"""Encoders of the worker: frames in, access units out."""
