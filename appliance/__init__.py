"""Porthole: a streaming appliance for ARM cameras."""

__version__ = "0.1.0"
