"""The bench's end on the board: a shell script comes, what it wrote and how it ended goes back.

Reached only through the emulator's own network, from the machine that runs it.
"""

from __future__ import annotations

import socketserver
import subprocess

PORT = 9000


class Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        script = self.rfile.read()
        done = subprocess.run(
            ["/bin/bash", "-euo", "pipefail", "-s"],
            input=script,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=600,
        )
        self.wfile.write(done.stdout + f"\nended {done.returncode}\n".encode())


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True


Server(("", PORT), Handler).serve_forever()
