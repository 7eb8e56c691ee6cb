"""A supervisor over small dummy programs, as a program: what the tests of the supervisor start and kill.

python -m tests.embedded.supervised HOME PORT [web command…]
"""

import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

from backend.embedded.parts import Child, Service, StartFailed
from backend.embedded.run_file import AlreadyRunning
from backend.embedded.supervisor import Supervisor

WEB = """
import http.server, signal, subprocess, sys, os
subprocess.Popen(["sleep", "987"], start_new_session=True)  # a grandchild nobody tied to anything
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(os.environ["THING_URL"].encode())
    def log_message(self, *a): pass
signal.signal(signal.SIGTERM, lambda *a: sys.exit(0))
print("web is up", flush=True)
http.server.HTTPServer(("127.0.0.1", int(os.environ["WEB_PORT"])), Page).serve_forever()
"""
WORKER = """
import json, os, sys, time
print("early, knows", os.environ.get("THING_URL"), flush=True)
print("told", json.loads(sys.stdin.readline())["THING_URL"], flush=True)
time.sleep(1000)
"""
PREPARE = "import os; print('prepared for', os.environ['THING_URL'], flush=True)"


class Thing:
    """A service that is one sleeping process."""

    def __init__(self, home: Path, name: str) -> None:
        self.name = name
        self.file = home / f"{name}.pid"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> tuple[dict[str, str], str]:
        self.process = subprocess.Popen(["/bin/sleep", "1000"], start_new_session=True)
        self.file.write_text(str(self.process.pid))
        return {f"{self.name.upper()}_URL": f"{self.name}://here"}, f"{self.name} 1.0"

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None


def main() -> int:
    home, port = Path(sys.argv[1]), int(sys.argv[2])
    home.mkdir(exist_ok=True)
    web = sys.argv[3:] or [sys.executable, "-c", WEB]
    things = [Thing(home, "thing"), Thing(home, "other")]

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1) as page:
                return bool(page.status == 200)
        except OSError:
            return False

    supervisor = Supervisor(
        home=home,
        url=f"http://127.0.0.1:{port}",
        address=("127.0.0.1", port),
        services=[Service(t.name, t.start, t.stop, t.is_running, in_main_thread=t.name == "thing") for t in things],
        prepare=[Child("preparation", [sys.executable, "-c", PREPARE])],
        children=[Child("worker", [sys.executable, "-c", WORKER], early=True), Child("web", web)],
        environment={"WEB_PORT": str(port)},
        page_answers=answers,
        say=lambda part, what: print(f"{part}: {what}", flush=True),  # noqa: T201
    )
    try:
        supervisor.run()
    except (StartFailed, AlreadyRunning) as err:
        print(err, flush=True)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    socket.setdefaulttimeout(5)
    sys.exit(main())
