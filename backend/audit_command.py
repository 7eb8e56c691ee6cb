"""`byline audit RECEIPT`: re-check a receipt, from its file or by its digest, against the chain."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from attribution.audit_file import parse_file, read_file
from attribution.receipt import ReceiptMalformed
from attribution.verdict import Verdict, overall, refuted, unknown
from attribution.verify import ANYONE, check_publisher
from backend.deployments import load_contracts
from backend.domain.errors import BylineError, InvalidValue
from backend.domain.types import Wallet, parse_digest, parse_wallet
from backend.drivers.chain.connection import ChainConnection
from backend.drivers.chain.evidence import ChainEvidence
from backend.drivers.chain.transactions import account_of
from backend.preparing import ARTIFACTS
from backend.services.auditing import Audit, audit_file
from backend.settings import Settings
from backend.system import open_system

EXIT = {Verdict.VERIFIED: 0, Verdict.REFUTED: 1, Verdict.UNKNOWN: 2}
COLOUR = {Verdict.VERIFIED: "green", Verdict.REFUTED: "red", Verdict.UNKNOWN: "yellow"}


async def audit(settings: Settings, receipt: str, publisher: str | None = None) -> Audit:
    """`publisher`: whose log counts; None for this home's own (`publisher_of`).
    Raises: InvalidValue, NotFound, and the Unavailable of what a digest needs looked up."""
    raw = await asyncio.to_thread(_bytes_of, Path(receipt))
    if raw is None:
        return await check_file(settings, await _file_of_digest(settings, receipt), publisher)
    try:
        file = read_file(raw)
    except ReceiptMalformed as malformed:
        return Audit(Verdict.REFUTED, (refuted(malformed.field, malformed.problem),))
    return await check_file(settings, file, publisher)


def _bytes_of(path: Path) -> bytes | None:
    """None when there is no such file. Raises: InvalidValue when there is one that cannot be read."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InvalidValue("RECEIPT", f"{path} cannot be read: {error}") from error


async def check_file(settings: Settings, file: dict[str, Any], publisher: str | None = None) -> Audit:
    """Needs the chain and nothing else: neither Byline's database nor its server. `publisher`: see `audit`."""
    expected = publisher_of(settings) if publisher is None else parse_wallet(publisher)
    if settings.rpc_url is None:
        raise InvalidValue("RPC_URL", "is not set and no embedded chain runs here; set it, or `make up`")
    limit = settings.head_age_limit_seconds
    chain = ChainConnection(
        settings.rpc_url, settings.chain_id, load_contracts(settings), ARTIFACTS, max_head_age_seconds=limit
    )
    try:
        found = await audit_file(file, ChainEvidence(chain))
    finally:
        await chain.close()
    try:
        checks = (*found.checks, check_publisher(parse_file(file), expected))
    except ReceiptMalformed:
        return found  # refuted already, and names no publisher that could be compared
    return Audit(overall(checks), checks)


def publisher_of(settings: Settings) -> str:
    """Whose log this home's server extends; `ANYONE` where it has no key: an audit makes none.
    Raises: InvalidValue when there is one that cannot be read."""
    try:
        if settings.server_key is None and not (settings.home / "server.key").exists():
            return ANYONE
        return settings.publisher(Wallet(account_of(settings.read_server_key()).address))
    except (OSError, ValueError):
        raise InvalidValue("server.key", f"{settings.home} holds no key that can be read; name a --publisher") from None


async def _file_of_digest(settings: Settings, receipt: str) -> dict[str, Any]:
    """All of it: whoever runs this reads the database anyway."""
    if not receipt.startswith("0x"):
        raise InvalidValue("RECEIPT", f"{receipt[:80]!r} is neither a file here nor a digest (0x and 64 hex digits)")
    digest = parse_digest(receipt)
    async with open_system(settings) as system:
        asker = (await system.auditing.receipt(digest)).asker
        return await system.auditing.file(digest, asker)


def show(audit: Audit, *, as_json: bool) -> int:
    """Print the checks; returns the exit status."""
    if as_json:
        checks = [{"name": c.name, "verdict": str(c.verdict), "detail": c.detail} for c in audit.checks]
        sys.stdout.write(json.dumps({"verdict": str(audit.verdict), "checks": checks}) + "\n")
        return EXIT[audit.verdict]
    out = Console(highlight=False)
    table = Table(box=None, pad_edge=False)
    for heading in ("verdict", "check", "detail"):
        table.add_column(heading, overflow="fold")
    for check in audit.checks:
        colour = COLOUR[check.verdict]
        table.add_row(f"[{colour}]{check.verdict}[/{colour}]", escape(check.name), escape(check.detail))
    out.print(table)
    colour = COLOUR[audit.verdict]
    words = {Verdict.VERIFIED: "verified", Verdict.REFUTED: "REFUTED", Verdict.UNKNOWN: "could not tell"}
    out.print(f"\n[{colour} bold]{words[audit.verdict]}[/{colour} bold]")
    return EXIT[audit.verdict]


async def audit_or_explain(settings: Settings, receipt: str, publisher: str | None = None) -> Audit:
    """As `audit`, with what is down as a check that could not be made: exit 2 is "could not tell"."""
    try:
        return await audit(settings, receipt, publisher)
    except InvalidValue:
        raise
    except BylineError as error:
        return Audit(Verdict.UNKNOWN, (unknown("receipt", str(error)),))
