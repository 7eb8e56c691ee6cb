"""What a question costs: `python -m bench.answer [--json] [--questions 8]`.

Starts Byline on an empty home, publishes the PubMedQA sample of three contributors, grants one builder RETRIEVE and
asks real questions of the base model over the public API, one after the other: time to the first token, to the whole
answer, to the shares and the receipt. Then receipts per second: sealed (built, hashed, appended in one transaction)
and anchored on chain (queued, sent, mined, seen by the indexer) from a log of fresh receipts. The peer in the same run
is the same question without datanets: generation alone, nothing to attribute.
"""

import asyncio
import os
import statistics
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from attribution.attribute import Attribution, Share
from backend.demo.actor import Actor
from backend.demo.command import SAMPLE
from backend.demo.story import Cast, publish, read_rows
from backend.deployments import load_contracts
from backend.domain.answers import Generation, Unfinished
from backend.domain.types import Purpose
from backend.drivers.chain.connection import ChainConnection
from backend.drivers.chain.sending import KeyedSigner
from backend.drivers.chain.wallet import local_test_key
from backend.preparing import ARTIFACTS
from backend.services.answering import ModelChoice
from backend.settings import Settings, load_settings
from backend.system import open_system
from backend.up import settings_of_running
from bench._report import Table, parser, report
from tests.system_fixtures import free_port, start_byline, stop_byline

MAX_TOKENS = 64
RECEIPTS = 500


async def measure(settings: Settings, questions: int) -> dict[str, Any]:
    chain = ChainConnection(str(settings.rpc_url), settings.chain_id, load_contracts(settings), ARTIFACTS)
    base, headers = f"http://{settings.host}:{settings.port}", {"Origin": settings.public_origin}
    async with (
        httpx.AsyncClient(base_url=base, headers=headers, timeout=300) as owner_http,
        httpx.AsyncClient(base_url=base, headers=headers, timeout=300) as builder_http,
    ):
        owner = Actor("owner", local_test_key(0), owner_http, chain)
        builder = Actor("builder", local_test_key(1), builder_http, chain)
        contributors = [KeyedSigner(chain, local_test_key(index)).address for index in (2, 3, 4)]
        await owner.sign_in()
        await builder.sign_in()
        rows = read_rows(SAMPLE, contributors)
        datanet = await publish(Cast(owner, builder, contributors), rows, lambda _who, _what: None)
        await owner.send("grant", datanet, builder.wallet, int(Purpose.RETRIEVE), 0)
        asked = [row["instruction"] for row in rows[:questions]]
        await _ask(builder, asked[0], [datanet])  # the model is loaded by now
        with_data = [await _ask(builder, question, [datanet]) for question in asked]
        without = [await _ask(builder, question, []) for question in asked]
    await chain.close()

    def median(runs: list[dict[str, float]], key: str) -> float:
        return round(statistics.median(run[key] for run in runs), 2)

    return {
        "questions": questions,
        "first_token_s": median(with_data, "first_token"),
        "answer_s": median(with_data, "answer"),
        "shares_s": median(with_data, "receipt"),
        "attribution_s": round(statistics.median(run["receipt"] - run["answer"] for run in with_data), 2),
        "sources": statistics.median(run["sources"] for run in with_data),
        "first_token_without_data_s": median(without, "first_token"),
        "answer_without_data_s": median(without, "answer"),
        **await _receipts_per_second(settings, datanet),
    }


async def _ask(builder: Actor, question: str, datanets: list[int]) -> dict[str, float]:
    body = {
        "question": question,
        "model": {"base": "smollm2-135m-instruct"},
        "datanet_ids": datanets,
        "max_tokens": MAX_TOKENS,
        "seed": 7,
    }
    began, seen = time.monotonic(), {"sources": 0.0}
    async for name, data in builder.events("POST", "/answers", body):
        elapsed = time.monotonic() - began
        if name == "token":
            seen.setdefault("first_token", elapsed)
        elif name == "scoring":
            seen["sources"] = float(data["sources"])
        elif name in ("answer", "receipt"):
            seen[name] = elapsed
    return seen


async def _receipts_per_second(settings: Settings, datanet: int) -> dict[str, float]:
    """Real receipts of one real question, sealed over and over; then until the mirror shows the last one anchored."""
    async with open_system(settings) as system:
        owner = KeyedSigner(system.chain, local_test_key(0)).address
        asking = system.answering
        question = await asking.ask(owner, "What thins blood?", ModelChoice(base="smollm2-135m-instruct"), [], 16, 7)
        attribution = Attribution("none", 0, (), (), (), 0, (Share("nobody", 0, 10_000),))
        began = time.monotonic()
        for number in range(RECEIPTS):
            one = replace(question, text=f"{question.text} ({number})")
            begun = Unfinished(f"bench-{number}", one, (), datetime.now(UTC))
            last = await asking.record(begun, Generation("Warfarin does.", (1, 2, 3)), attribution)
        sealed = RECEIPTS / (time.monotonic() - began)
        while await system.auditing.anchor_of(last.receipt.index) is None:
            await asyncio.sleep(0.05)
        anchored = RECEIPTS / (time.monotonic() - began)
    return {"receipts_sealed_per_s": round(sealed, 1), "receipts_anchored_per_s": round(anchored, 1)}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--questions", type=int, default=8)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="byline-bench-") as scratch:
        running = start_byline(Path(scratch) / "home", free_port())
        try:
            os.environ.update(running.environment)
            figures = asyncio.run(measure(settings_of_running(load_settings()), given.questions))
        finally:
            stop_byline(running)
    rows = [
        ["time to first token, s", figures["first_token_s"], figures["first_token_without_data_s"]],
        [f"time to the whole answer (≤ {MAX_TOKENS} tokens), s", figures["answer_s"], figures["answer_without_data_s"]],
        ["time to shares and receipt, s", figures["shares_s"], None],
        ["of which attribution, s", figures["attribution_s"], None],
        ["sources an answer (median)", figures["sources"], None],
        ["receipts sealed per second", figures["receipts_sealed_per_s"], None],
        ["receipts anchored per second, end to end", figures["receipts_anchored_per_s"], None],
    ]
    table = Table("An answer, SmolLM2-135M on this CPU", ["", "three contributors' data", "no data"], rows)
    report("answer", [table], figures, as_json=given.json)


if __name__ == "__main__":
    main()
