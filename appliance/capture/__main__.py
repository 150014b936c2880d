"""The worker program: ``python -m appliance.capture SOURCE [--options-json JSON] [--describe]``.

Frames go to a private copy of standard output; standard output itself becomes standard error
before any library is loaded, so that nobody's print can end up between two frames.
"""

from __future__ import annotations

import sys

from appliance.capture.program import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
