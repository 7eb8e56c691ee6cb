"""`byline demo`: start Byline if it does not run, play the story, say how it ended."""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape

from backend.audit_command import check_file
from backend.demo.actor import Actor
from backend.demo.story import SAMPLE_ROWS, Cast, Outcome, play, read_rows
from backend.deployments import load_contracts
from backend.domain.errors import InvalidValue
from backend.drivers.chain.connection import ChainConnection
from backend.drivers.chain.sending import KeyedSigner
from backend.drivers.chain.wallet import local_test_key
from backend.preparing import ARTIFACTS
from backend.setting_values import DEMO_PEOPLE
from backend.settings import Settings

SAMPLE = Path(__file__).parents[2] / "tests" / "data" / "pubmedqa_sample.jsonl"
COLOURS = {"owner": "cyan", "builder": "magenta", "trainer": "yellow", "model": "green", "attribution": "green"}


def demo_keys(settings: Settings) -> list[str]:
    """Funded keys for five people. Raises: InvalidValue when this chain is not the embedded one and none are given."""
    if settings.byline_demo_keys:
        return list(settings.byline_demo_keys)
    if not settings.embeds("chain"):
        raise InvalidValue(
            "BYLINE_DEMO_KEYS",
            f"is needed on a chain that is not the embedded one: {DEMO_PEOPLE} funded keys, comma-separated",
        )
    return [local_test_key(index) for index in range(DEMO_PEOPLE)]


async def run_demo(settings: Settings, data: Path | None, *, as_json: bool) -> Outcome:
    """Play the story against a running Byline. Raises: DemoFailed, BylineError."""
    out = Console(highlight=False, stderr=as_json)
    began = time.monotonic()

    def say(who: str, what: str) -> None:
        elapsed = time.monotonic() - began
        colour = COLOURS.get(who, "bold")
        out.print(f"[dim]{elapsed:6.1f} s[/dim]  [{colour}]{who:<12}[/{colour}] {escape(what)}", soft_wrap=True)

    keys = demo_keys(settings)
    chain = ChainConnection(str(settings.rpc_url), settings.chain_id, load_contracts(settings), ARTIFACTS)
    base = f"http://{settings.host}:{settings.port}"
    headers = {"Origin": settings.public_origin}
    try:
        async with (
            httpx.AsyncClient(base_url=base, headers=headers, timeout=120) as owner_http,
            httpx.AsyncClient(base_url=base, headers=headers, timeout=120) as builder_http,
        ):
            cast = Cast(
                Actor("owner", keys[0], owner_http, chain),
                Actor("builder", keys[1], builder_http, chain),
                [KeyedSigner(chain, key).address for key in keys[2:]],
            )
            rows = read_rows(data, cast.contributors) if data else read_rows(SAMPLE, cast.contributors)[:SAMPLE_ROWS]

            async def audit(file: dict[str, Any]) -> str:
                result = await check_file(settings, file)
                for check in result.checks:
                    say("auditor", f"{check.verdict:<9} {check.name}")
                return str(result.verdict)

            outcome = await play(cast, rows, say, audit)
    finally:
        await chain.close()
    if as_json:
        sys.stdout.write(json.dumps(asdict(outcome)) + "\n")
        sys.stdout.flush()
    return outcome
