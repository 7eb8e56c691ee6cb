"""`byline …`: the command line. Each command's work is in a module of its own, imported when it is called."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from backend.domain.errors import BylineError
from backend.embedded.run_file import Run, read_run
from backend.settings import Settings, SettingsError, load_settings

if TYPE_CHECKING:
    from backend.doctor import Finding

# locals would show secrets in a traceback
app = typer.Typer(
    help="Byline: train and ask on data whose owners stay in control.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
out = Console(highlight=False)
problems = Console(stderr=True, highlight=False)


def settings_or_exit() -> Settings:
    """The settings; a wrong one ends the command with its name, exit status 2."""
    try:
        return load_settings()
    except SettingsError as err:
        problems.print(f"[red]{escape(str(err))}[/red]", soft_wrap=True)
        raise typer.Exit(2) from None


def fail(message: str) -> typer.Exit:
    """`raise fail(…)`: say why on standard error, exit status 1."""
    problems.print(f"[red]{escape(message)}[/red]", soft_wrap=True)  # a path that is broken in two cannot be copied
    return typer.Exit(1)


class Progress:
    """Lines like `  1.2 s  postgres     PostgreSQL 18.6`."""

    def __init__(self, console: Console = out) -> None:
        self._began = time.monotonic()
        self._console = console

    def __call__(self, part: str, what: str) -> None:
        first, *more = what.splitlines() or [""]
        elapsed = time.monotonic() - self._began
        self._console.print(
            f"[dim]{elapsed:6.1f} s[/dim]  [bold]{escape(part):<12}[/bold] {escape(first)}", soft_wrap=True
        )
        for line in more:
            self._console.print(f"          [dim]{'':<12} {escape(line)}[/dim]", soft_wrap=True)


@app.command()
def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once the page answers.")] = False,
) -> None:
    """Start everything and print the URL; Ctrl-C stops it."""
    settings = settings_or_exit()
    if detach:
        _up_detached(settings)
        return
    from backend.embedded.parts import StartFailed
    from backend.embedded.run_file import AlreadyRunning
    from backend.up import supervisor_of

    try:
        supervisor_of(settings, Progress()).run()
    except (StartFailed, AlreadyRunning) as err:
        raise fail(str(err)) from None


def _up_detached(settings: Settings, console: Console = out) -> None:
    log = settings.home / "logs" / "up.log"
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "backend.cli", "up"],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    with log.open() as said:
        while True:
            ended = process.poll() is not None
            console.file.write(said.read())
            console.file.flush()
            if ended:
                raise typer.Exit(process.returncode or 1)
            run = read_run(settings.home)
            if run is not None and run.supervisor.pid == process.pid and run.state == "up":
                console.file.write(said.read())
                console.print(f"Byline runs at [bold]{escape(run.url)}[/bold]; `byline down` stops it")
                return
            time.sleep(0.1)


@app.command()
def down() -> None:
    """Stop what `byline up` started."""
    from backend.up import stop_running

    settings = settings_or_exit()
    try:
        stopped = stop_running(settings.home)
    except TimeoutError as err:
        raise fail(f"{err}; its log is in {settings.home / 'logs'}") from None
    out.print(f"nothing runs in {escape(str(settings.home))}" if stopped is None else f"stopped (process {stopped})")


@app.command()
def status() -> None:
    """What runs here. Exit status 0 when everything is up."""
    settings = settings_or_exit()
    run = read_run(settings.home)
    if run is None:
        out.print(f"nothing runs in {escape(str(settings.home))}; `byline up` starts it")
        raise typer.Exit(1)
    out.print(f"[bold]{escape(run.url)}[/bold]  {run.state} since {run.started_at}, process {run.supervisor.pid}")
    out.print(_parts(run))
    if run.state != "up" or any(part.state != "up" for part in run.parts):
        raise typer.Exit(1)


def _parts(run: Run) -> Table:
    table = Table("part", "state", "since", "process", "restarts", box=None, pad_edge=False)
    for part in run.parts:
        table.add_row(part.name, part.state, part.started_at or "", str(part.pid or ""), str(part.restarts))
    return table


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Each component: what is used, its version, whether it answers, what to do if not."""
    from backend.doctor import examine
    from backend.up import settings_of_running

    findings = asyncio.run(examine(settings_of_running(settings_or_exit())))
    fine = all(finding.problem is None for finding in findings)
    if as_json:
        document = {"ok": fine, "components": [finding.as_json() for finding in findings]}
        sys.stdout.write(json.dumps(document) + "\n")
    else:
        out.print(_findings(findings))
    if not fine:
        raise typer.Exit(1)


def _findings(findings: "list[Finding]") -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("component", "used", "version", "answers", "what to do"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        answers = "[green]yes[/green]" if finding.problem is None else "[red]no[/red]"
        cells = (finding.name, finding.used, finding.version or "", finding.problem or "")
        name, used, version, problem = (escape(cell) for cell in cells)
        table.add_row(name, used, version, answers, problem)
    return table


@app.command()
def audit(
    receipt: Annotated[str, typer.Argument(help="An audit file, or a receipt's digest (0x…).")],
    publisher: Annotated[
        str | None, typer.Option(help="Whose log counts (0x…); else that of this home's server key, if it has one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Re-check a receipt against the chain. Exit status: 0 verified, 1 refuted, 2 could not tell."""
    from backend.audit_command import audit_or_explain, show
    from backend.up import settings_of_running

    try:
        result = asyncio.run(audit_or_explain(settings_of_running(settings_or_exit()), receipt, publisher))
    except BylineError as err:
        problems.print(f"[red]{escape(str(err))}[/red]", soft_wrap=True)
        raise typer.Exit(2) from None
    raise typer.Exit(show(result, as_json=as_json))


@app.command()
def demo(
    data: Annotated[Path | None, typer.Option(help="JSONL rows {question, contexts, answer, contributor?}.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON object on the last line.")] = False,
    leave: Annotated[bool, typer.Option("--exit", help="Stop Byline afterwards, if the demo started it.")] = False,
) -> None:
    """The whole path on real parts: publish, request, grant, train, ask, attribute, anchor, audit, revoke."""
    from backend.demo.actor import DemoFailed
    from backend.demo.command import run_demo
    from backend.up import settings_of_running, stop_running

    settings = settings_or_exit()
    started_here = read_run(settings.home) is None
    if started_here:
        _up_detached(settings, console=problems if as_json else out)
    try:
        outcome = asyncio.run(run_demo(settings_of_running(settings), data, as_json=as_json))
        went_well = outcome.audit == "verified" and outcome.refused_after_revoke
    except (BylineError, DemoFailed) as err:
        problems.print(f"[red]{escape(str(err))}[/red]", soft_wrap=True)
        went_well = False
    if leave and started_here:
        stop_running(settings.home)
    elif not as_json:
        out.print(f"\nByline stays up at [bold]{escape(settings.public_origin)}[/bold]; `make down` stops it")
    if not went_well:
        raise typer.Exit(1)


@app.command()
def deploy(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would do, and what that costs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Put the contracts on the chain with the server's key, at the addresses they have everywhere."""
    from backend.deploy_command import deploy_or_plan
    from backend.up import settings_of_running

    settings = settings_of_running(settings_or_exit())
    progress = Progress(problems if as_json else out)
    try:
        done = asyncio.run(deploy_or_plan(settings, lambda line: progress("deploy", line), dry_run=dry_run))
    except (BylineError, SettingsError) as err:
        raise fail(str(err)) from None
    done.show(out, as_json=as_json)


@app.command()
def verify_sources(
    bundle: Annotated[
        Path | None, typer.Option(help="Write the sources there, a folder a contract; send none.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show explorers the deployed contracts' sources. Exit status 0 when each of them could follow."""
    from backend.up import settings_of_running
    from backend.verify_command import show, submit, write_bundle

    settings = settings_of_running(settings_or_exit())
    try:
        if bundle is not None:
            for path in write_bundle(settings, bundle):
                out.print(escape(str(path)), soft_wrap=True)
            return
        progress = Progress(problems if as_json else out)
        verdicts = asyncio.run(submit(settings, progress))
    except (BylineError, SettingsError) as err:
        raise fail(str(err)) from None
    if not show(out, verdicts, as_json=as_json):
        raise typer.Exit(1)


@app.command("rotate-key")
def rotate_key() -> None:
    """Hand the receipt log to a new server key, on chain; the old key loses its power over it. Byline must be up."""
    from backend.rotating import rotate_key as rotate
    from backend.up import settings_of_running

    settings = settings_or_exit()
    try:
        new = asyncio.run(rotate(settings_of_running(settings), out.print))
    except (BylineError, SettingsError) as err:
        raise fail(str(err)) from None
    out.print(f"the server's key is {new} now; restart Byline (`byline down`, `byline up`) so that it is used")


@app.command()
def reindex() -> None:
    """Read the chain again from block 0 into the tables that the pages are made of; they change all at once."""
    from backend.reindex_command import reindex_chain
    from backend.up import settings_of_running

    try:
        events = asyncio.run(reindex_chain(settings_of_running(settings_or_exit()), Progress()))
    except BylineError as err:
        raise fail(f"{err}; the tables are as they were") from None
    out.print(f"the tables hold the chain's {events:,} events")


def main() -> None:
    app()


if __name__ == "__main__":
    main()
