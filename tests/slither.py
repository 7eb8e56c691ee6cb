"""Slither over the contracts, and its findings against the answers in docs/slither.md: `make slither`.

Exit 0 when each finding is answered and each answer still has its finding, 1 when not, 2 when slither itself failed.
Hardhat's folder keeps older builds, which slither mixes up with the newest, so it is given a build of its own.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
ANSWERS = ROOT / "docs/slither.md"
SLITHER = ROOT / ".venv-slither/bin/slither"
NOT_DEPLOYED = "node_modules|contracts/test/"

Findings = Counter[tuple[str, str]]  # (detector, Contract.function) → how many


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="byline-slither-") as scratch:
        found = findings(run_slither(Path(scratch)))
    problems = differences(found, answers(ANSWERS.read_text()))
    for problem in problems:
        print(problem, file=sys.stderr)  # noqa: T201 this is a command
    print(f"{found.total()} findings, {len(problems)} differences from docs/slither.md")  # noqa: T201
    return 1 if problems else 0


def run_slither(scratch: Path) -> dict[str, Any]:
    """Slither's JSON; its own text goes to standard error. Raises: SystemExit(2) with what failed."""
    shutil.copytree(ROOT / "contracts", scratch / "contracts")
    for name in ("hardhat.config.js", "package.json"):
        shutil.copy(ROOT / name, scratch)
    (scratch / "node_modules").symlink_to((ROOT / "node_modules").resolve())
    report = scratch / "slither.json"
    build = [str(scratch / "node_modules/.bin/hardhat"), "build", "--no-tests"]
    analyse = [str(SLITHER), ".", "--hardhat-ignore-compile", "--filter-paths", NOT_DEPLOYED, "--json", str(report)]
    try:
        subprocess.run(build, cwd=scratch, check=True, stdout=subprocess.DEVNULL)
        subprocess.run(analyse, cwd=scratch, check=False)  # its exit status counts findings
        result: dict[str, Any] = json.loads(report.read_text())
        if not result["success"]:
            raise ValueError(result["error"])
    except (OSError, ValueError, subprocess.CalledProcessError) as err:
        print(f"slither did not run: {err}; start it by `make slither`", file=sys.stderr)  # noqa: T201
        raise SystemExit(2) from err
    return result


def findings(report: dict[str, Any]) -> Findings:
    return Counter((each["check"], place(each["elements"][0])) for each in report["results"].get("detectors", []))


def place(element: dict[str, Any]) -> str:
    """Contract.function (or Contract.variable) of what a finding points at."""
    names: list[str] = []
    inside: dict[str, Any] | None = element
    while inside and inside["type"] in ("contract", "function", "variable", "event", "struct", "enum", "node"):
        if inside["type"] != "node":
            names.insert(0, inside["name"])
        inside = inside.get("type_specific_fields", {}).get("parent")
    return ".".join(names[:2])


def answers(text: str) -> Findings:
    """Rows `| detector | `Contract.function` | how many | answer |`; a row without an answer answers nothing."""
    rows = re.findall(r"^\| ([a-z0-9-]+) \| `([\w.]+)` \| (\d+) \| *(\S.*?) *\|$", text, re.MULTILINE)
    return Counter({(detector, where): int(number) for detector, where, number, _answer in rows})


def differences(found: Findings, answered: Findings) -> list[str]:
    return [
        f"{detector} at {where}: found {found[detector, where]}, answered {answered[detector, where]}"
        for detector, where in sorted(found.keys() | answered.keys())
        if found[detector, where] != answered[detector, where]
    ]


if __name__ == "__main__":
    sys.exit(main())
