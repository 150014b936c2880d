"""Stands in for picamera2 0.3.38 where there is no camera; its signatures are the real ones, which
tests/capture/test_picamera2_contract.py checks.

How it behaves is told by files in the folder $FAKE_PICAMERA2 (see stage.py).
"""

from .camera import Picamera2
from .request import CompletedRequest, MappedArray

__all__ = ["CompletedRequest", "MappedArray", "Picamera2"]
