"""Workers that break the rules, for every test of this folder."""

from scripted_worker import play

__all__ = ["play"]
