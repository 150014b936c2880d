"""Lets these tests decode with what the folder above them has for it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
