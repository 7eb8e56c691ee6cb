"""What every benchmark ends with: a table to read, a JSON line to parse, a dated file to keep."""

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Table:
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


def parser(description: str | None) -> argparse.ArgumentParser:
    """With `--json`; a benchmark adds its own arguments."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", action="store_true", help="end with one JSON object on the last line")
    return made


def report(name: str, tables: Sequence[Table], figures: dict[str, Any], *, as_json: bool, keep: bool = True) -> None:
    """Print, and keep as `results/NAME-DATE.json` unless it was only a trial."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    for table in tables:
        drawn = RichTable(title=table.title, title_justify="left")
        for number, column in enumerate(table.columns):
            drawn.add_column(column, justify="right" if number else "left", no_wrap=True)
        for row in table.rows:
            drawn.add_row(*(_cell(value) for value in row))
        console.print(drawn)
    now = datetime.now(UTC)
    result = {"benchmark": name, "date": now.isoformat(timespec="seconds"), "machine": machine(), **figures}
    if keep:
        RESULTS.mkdir(exist_ok=True)
        file = RESULTS / f"{name}-{now:%Y-%m-%d}.json"
        file.write_text(json.dumps(result, indent=2) + "\n")
        console.print(f"kept as bench/results/{file.name}")
    if as_json:
        print(json.dumps(result))


def machine() -> dict[str, Any]:
    """What figures depend on, and nothing that says whose machine it is."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[1], 1),  # of five minutes: above `cores`, something else ran too
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:,.3g}" if isinstance(value, float) else str(value)
