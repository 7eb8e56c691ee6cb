"""`byline up` on the real embedded services, with a page in place of Byline's own children.

python -m tests.embedded.real_services     (settings from the environment)
"""

import dataclasses
import sys

from backend.embedded.parts import Child
from backend.settings import load_settings
from backend.up import supervisor_of

PAGE = """
import http.server, json, os
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
        names = ("DATABASE_URL", "RPC_URL", "IPFS_API", "IPFS_TOKEN", "BYLINE_EMBEDDED", "OMP_WAIT_POLICY")
        self.wfile.write(json.dumps({n: os.environ.get(n) for n in names}).encode())
    def log_message(self, *a): pass
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Page).serve_forever()
"""


def main() -> None:
    supervisor = supervisor_of(
        load_settings(),
        lambda part, what: print(f"{part}: {what}", flush=True),  # noqa: T201
    )
    page = Child("web", [sys.executable, "-c", PAGE])
    dataclasses.replace(supervisor, prepare=[], children=[page]).run()


if __name__ == "__main__":
    main()
