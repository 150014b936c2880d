import sys
from pathlib import Path

TESTS = Path(__file__).parent.parent.parent
sys.path[:0] = [
    str(Path(__file__).parent),
    str(TESTS / "wire" / "dtls"),
    str(TESTS / "wire" / "ice"),
]
