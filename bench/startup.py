"""How soon Byline can be used: `python -m bench.startup [--json] [--runs 5] [--cold]`.

Set-up is done (`make setup`). Each run starts `byline up` on an existing home and stops it again; the page is opened
in a real Chromium, and counts as usable when it shows the chain's head block and offers to sign in. The peer in the
same run is the first start on an empty home, which also creates the cluster, deploys the contracts and unpacks the
model. `--cold` clones this commit into an empty folder and times `make demo` with empty pip and npm caches, then once
more, warm (a quarter of an hour or more).
"""

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from bench._report import Table, parser, report
from tests.e2e.browser import chromium
from tests.system_fixtures import ROOT, RunningByline, byline_environment, free_port, start_byline, stop_byline

SETTLE_MS = 20_000  # sign-in is timed on a settled system: worker started, model warm
INSTALLED = (".venv", "node_modules", "frontend_reflex/.web/build", "artifacts")


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--cold", action="store_true")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="byline-bench-") as scratch, chromium() as browser:
        home, port = Path(scratch) / "home", free_port()
        first = one_start(browser, home, port)
        warm = [one_start(browser, home, port) for _ in range(given.runs)]
    medians = {key: round(statistics.median(run[key] for run in warm), 2) for key in warm[0]}
    figures: dict[str, Any] = {
        "page_usable_s": medians["page"],
        "page_usable_first_start_s": round(first["page"], 2),
        "sign_in_s": medians["sign_in"],
        "stop_s": medians["stop"],
        "installed_mib": installed_mib(),
        "runs": given.runs,
    }
    if given.cold:
        figures |= cold_demo()
    rows = [
        ["page usable after `byline up`, s (target ≤ 10)", figures["page_usable_s"]],
        ["the same on an empty home, s", figures["page_usable_first_start_s"]],
        ["sign-in round trip in the browser, s (target ≤ 1)", figures["sign_in_s"]],
        ["`byline down`, s", figures["stop_s"]],
        *[[f"installed: {part}, MiB", size] for part, size in figures["installed_mib"].items()],
        *[[key, figures[key]] for key in ("demo_cold_minutes", "demo_warm_minutes") if key in figures],
    ]
    report("startup", [Table("Start-up", ["", "median"], rows)], figures, as_json=given.json)


def one_start(browser: Browser, home: Path, port: int) -> dict[str, float]:
    """Seconds from the command to a page one can use, for a sign-in, and to stop."""
    began = time.monotonic()
    running = start_byline(home, port)
    try:
        page = browser.new_context().new_page()
        page.goto(running.url)
        page.locator("#head-block").wait_for()
        usable = time.monotonic() - began
        page.wait_for_timeout(SETTLE_MS)
        page.get_by_test_id("home-signin").click()
        account = page.get_by_test_id("test-account-1")
        account.wait_for()
        clicked = time.monotonic()
        account.click()
        page.get_by_test_id("nav-account").wait_for()
        signed_in = time.monotonic() - clicked
        page.context.close()
        return {"page": usable, "sign_in": signed_in, "stop": _stop(running)}
    finally:
        stop_byline(running)


def _stop(running: RunningByline) -> float:
    began = time.monotonic()
    stop_byline(running)
    return time.monotonic() - began


def installed_mib() -> dict[str, int]:
    sizes = {}
    for part in INSTALLED:
        files = (file for file in (ROOT / part).rglob("*") if file.is_file() and not file.is_symlink())
        sizes[part] = round(sum(file.stat().st_size for file in files) / 2**20)
    return {**sizes, "total": sum(sizes.values())}


def cold_demo() -> dict[str, float]:
    """Minutes of `make demo ARGS=--exit` in a fresh clone: with empty caches, and then again."""
    with tempfile.TemporaryDirectory(prefix="byline-cold-") as scratch:
        clone, caches = Path(scratch) / "byline", Path(scratch) / "caches"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        environment = {
            **byline_environment(clone / ".byline", free_port()),
            "PIP_CACHE_DIR": str(caches / "pip"),
            "npm_config_cache": str(caches / "npm"),
        }
        environment.pop("VIRTUAL_ENV", None)
        environment["PATH"] = os.pathsep.join(
            part for part in environment["PATH"].split(os.pathsep) if not part.startswith(str(ROOT))
        )
        minutes = {}
        for name in ("demo_cold_minutes", "demo_warm_minutes"):
            began = time.monotonic()
            subprocess.run(["make", "demo", "ARGS=--exit"], cwd=clone, env=environment, check=True)
            minutes[name] = round((time.monotonic() - began) / 60, 1)
            shutil.rmtree(clone / ".byline", ignore_errors=True)
        return minutes


if __name__ == "__main__":
    main()
