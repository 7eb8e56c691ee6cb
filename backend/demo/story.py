"""Byline's main job, start to end, over the public API and the real chain, with nothing canned.

An owner publishes the records of three contributors under terms; a builder asks for access, is refused, is
granted it by a signature of the owner's, fine-tunes, asks a question; the shares are computed, sealed, anchored and
audited; then the owner revokes, by a signature again: the next question and the next run are refused, and the tuned
model stops, as the terms say.
"""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from backend.demo.actor import Actor, DemoFailed
from backend.domain.consent import Terms
from backend.domain.errors import InvalidValue
from backend.domain.types import Purpose, Wallet, parse_wallet, purpose_names

STEPS = 24
SAMPLE_ROWS = 24  # of the bundled sample: each is seen twice
BATCH = 2
QUESTION_CHARACTERS = 4_000  # what the API takes
LICENCE = """The PubMedQA sample, under the MIT licence.
You may train on it and retrieve from it. Models trained on it stop answering when the permission to train ends.
"""

T = TypeVar("T")

Say = Callable[[str, str], None]  # (who, what)


@dataclass(slots=True)
class Cast:
    owner: Actor
    builder: Actor
    contributors: list[Wallet]


@dataclass(slots=True)
class Outcome:
    """What `byline demo --json` prints."""

    datanet_id: int = 0
    run_id: str = ""
    adapter_digest: str = ""
    loss_first: float = 0.0
    loss_last: float = 0.0
    question: str = ""
    answer: str = ""
    shares_bps: dict[str, int] = field(default_factory=dict)
    receipt_digest: str = ""
    anchor_tx: str = ""
    audit: str = ""
    refused_after_revoke: bool = False


def read_rows(path: Path, contributors: list[Wallet]) -> list[dict[str, str]]:
    """`{question, contexts, answer, contributor?}` rows as alpaca records with a contributor each.
    Rows without a contributor are dealt to the given wallets in turn. Raises: InvalidValue."""
    rows = []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # U+2028 may stand inside a JSON string
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidValue("--data", f"cannot read {path}: {error}") from error
    for number, line in enumerate((line for line in lines if line.strip()), start=1):
        try:
            row = json.loads(line)
            contexts = row["contexts"]
            text = contexts if isinstance(contexts, str) else "\n".join(contexts)
            question, answer = str(row["question"]), str(row["answer"])
            given = row.get("contributor")
            contributor = parse_wallet(given) if given else contributors[(number - 1) % len(contributors)]
        except InvalidValue as error:
            raise InvalidValue("--data", f"row {number}: its contributor {error.problem}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidValue("--data", f"row {number} is not {{question, contexts, answer}}: {error!r}") from error
        rows.append(
            {
                "instruction": question,
                "input": text,
                "output": answer,
                "contributor": contributor,
            }
        )
    if not rows:
        raise InvalidValue("--data", f"{path} has no rows")
    return rows


def first_question(rows: list[dict[str, str]]) -> str:
    """The first that may be asked: a bad row is skipped at publication too. Raises: InvalidValue."""
    for row in rows:
        if 0 < len(question := row["instruction"].strip()) <= QUESTION_CHARACTERS:
            return question
    raise InvalidValue("--data", f"no row has a question of 1 to {QUESTION_CHARACTERS:,} characters")


async def play(
    cast: Cast, rows: list[dict[str, str]], say: Say, audit: Callable[[dict[str, Any]], Awaitable[str]]
) -> Outcome:
    """Raises: DemoFailed naming the step. `audit` takes the audit file and returns the verdict's name."""
    outcome = Outcome(question=first_question(rows))
    await cast.owner.sign_in()
    await cast.builder.sign_in()
    say("everyone", f"signed in: owner {cast.owner.wallet}, builder {cast.builder.wallet}")
    outcome.datanet_id = await publish(cast, rows, say)
    await _grant(cast, outcome.datanet_id, say)
    await _train(cast, outcome, len(rows), say)
    await _ask(cast, outcome, say)
    await _wait_anchored(cast, outcome, say)
    outcome.audit = await audit(await cast.builder.get(f"/receipts/{outcome.receipt_digest}/file"))
    say("auditor", f"receipt {outcome.receipt_digest}: {outcome.audit}")
    await _revoke(cast, outcome, say)
    return outcome


async def publish(cast: Cast, rows: list[dict[str, str]], say: Say) -> int:
    known = {d["datanet_id"] for d in await cast.owner.get("/datanets")}
    pinned = await cast.owner.post("/licences", {"text": LICENCE})
    offered = Purpose.TRAIN | Purpose.RETRIEVE | Purpose.EVALUATE
    terms = Terms(pinned["licence_digest"], offered, 250, "EUR", keeps_models=False)
    made = ("PubMedQA sample", terms.struct(), pinned["licence_cid"], int(Purpose.NONE))
    mined = await cast.owner.send("createDatanet", *made)

    async def created() -> int | None:
        mine = [d for d in await cast.owner.get("/datanets") if d["mine"] and d["datanet_id"] not in known]
        return int(max(d["datanet_id"] for d in mine)) if mine else None

    datanet = await _until("the datanet to appear", created)
    say("owner", f"registered datanet {datanet} on chain in block {mined.block.number}")
    content = "\n".join(json.dumps(row) for row in rows).encode()
    draft = await cast.owner.upload(f"/datanets/{datanet}/drafts", "records.jsonl", content, {})
    say("owner", f"uploaded {draft['rows_good']} good rows of {len(draft['contributors'])} contributors")
    version = await cast.owner.post(
        f"/datanets/{datanet}/versions", {"draft_id": draft["draft_id"], "on_bad_row": "skip"}
    )
    say("owner", f"encrypted and pinned on IPFS: manifest {version['manifest_cid']}")
    mined = await cast.owner.send(
        "publishVersion",
        datanet,
        version["version"],
        bytes.fromhex(version["manifest_digest"][2:]),
        bytes.fromhex(version["records_root"][2:]),
        version["manifest_cid"],
    )
    say("owner", f"published version {version['version']} on chain in block {mined.block.number}")

    async def indexed() -> int | None:
        now = await cast.owner.get(f"/datanets/{datanet}/versions/{version['version']}")
        return int(now["passages"]) if now["status"] == "indexed" else None

    passages = await _until("the passages to be indexed", indexed, seconds=300)
    say("worker", f"indexed {passages} passages")
    return datanet


async def _grant(cast: Cast, datanet: int, say: Say) -> None:
    wanted = Purpose.TRAIN | Purpose.RETRIEVE
    refusal = await cast.builder.refused("/answers", _question("Is this allowed?", datanet, None))
    if refusal is None or refusal.status != 403:
        raise DemoFailed(f"a question without a grant was not refused: {refusal}")
    say("builder", f"asks without a grant: refused ({refusal.detail})")
    await cast.builder.send(
        "requestAccess", datanet, 1, int(wanted), 0, "We would like to tune a question-answering model"
    )

    async def requested() -> bool | None:
        page = await cast.owner.get(f"/datanets/{datanet}")
        return any(r["requester"] == cast.builder.wallet for r in page["requests"]) or None

    await _until("the request to appear", requested)
    say("builder", "accepted the terms, and requested TRAIN and RETRIEVE")
    block = await _consent(cast, datanet, "grant", wanted)
    say("owner", f"approved it by signature; relayed, and on chain in block {block}")


async def _consent(cast: Cast, datanet: int, kind: str, purposes: Purpose) -> int:
    """The owner signs, the server relays. Returns: the block."""
    path = f"/datanets/{datanet}/consents"
    asked = {"kind": kind, "grantee": cast.builder.wallet, "purposes": purpose_names(purposes)}
    drafted = await cast.owner.post(f"{path}/draft", asked)
    signature = cast.owner.sign_typed_data(drafted["typed_data"])
    sent = await cast.owner.post(path, {"consent": drafted["consent"], "signature": signature})

    async def mined() -> int | None:
        state = await cast.owner.get(f"/consents/{sent['reference']}")
        if state["status"] == "failed":
            raise DemoFailed(f"the {kind} was not relayed: {state['problem']}")
        return state["block_number"] if state["status"] == "mined" else None

    return await _until(f"the {kind} to be on chain", mined)


async def _train(cast: Cast, outcome: Outcome, rows: int, say: Say) -> None:
    spec = training_spec(outcome.datanet_id, rows)
    order = await cast.builder.post("/training-orders", spec)
    signature = cast.builder.sign_typed_data(order["typed_data"])
    started = await cast.builder.post("/training-runs", {"spec": spec, "order": order["order"], "signature": signature})
    outcome.run_id = started["run_id"]
    say("builder", f"signed the training order; run {outcome.run_id} is queued")
    run: dict[str, Any] = {}
    async for name, data in cast.builder.events("GET", f"/training-runs/{outcome.run_id}/events"):
        if name == "progress" and (data["step"] in (1, data["total_steps"]) or data["step"] % 4 == 0):
            say(
                "trainer",
                f"step {data['step']}/{data['total_steps']}  loss {data['loss']:.3f}  "
                f"{data['tokens_per_second']:.0f} tokens/s  {data['seconds_left']:.0f} s left",
            )
        elif name == "run":
            if data["status"] != run.get("status"):
                say("run", data["status"])
            run = data
    if run.get("status") != "done":
        raise DemoFailed(f"the run ended {run.get('status')}: {run.get('problem')}")
    outcome.adapter_digest = run["adapter_digest"]
    outcome.loss_first, outcome.loss_last = run["loss_first"], run["loss_last"]
    say("worker", f"adapter {run['adapter_digest']} registered as model {run['model_id']} in {run['registration_tx']}")


async def _ask(cast: Cast, outcome: Outcome, say: Say) -> None:
    say("builder", f"asks: {outcome.question}")
    async for name, data in cast.builder.events(
        "POST", "/answers", _question(outcome.question, outcome.datanet_id, outcome.run_id)
    ):
        if name == "answer":
            outcome.answer = data["text"]
            say("model", data["text"])
        elif name == "receipt":
            outcome.receipt_digest, outcome.shares_bps = data["receipt_digest"], data["shares_bps"]
        elif name == "error":
            raise DemoFailed(f"the answer failed: {data['detail']}")
    if not outcome.receipt_digest:
        raise DemoFailed("the answer ended without a receipt")
    shares = ", ".join(f"{who} {bps / 100:.2f} %" for who, bps in outcome.shares_bps.items())
    say("attribution", shares)


async def _wait_anchored(cast: Cast, outcome: Outcome, say: Say) -> None:
    async def anchored() -> str | None:
        receipt = await cast.builder.get(f"/receipts/{outcome.receipt_digest}")
        return str(receipt["anchored"]["tx_hash"]) if receipt["anchored"] else None

    outcome.anchor_tx = await _until("the receipt to be anchored", anchored)
    say("worker", f"receipt {outcome.receipt_digest} anchored in {outcome.anchor_tx}")


async def _revoke(cast: Cast, outcome: Outcome, say: Say) -> None:
    block = await _consent(cast, outcome.datanet_id, "revocation", Purpose.TRAIN | Purpose.RETRIEVE)
    say("owner", f"revoked the grant by signature; on chain in block {block}")
    asked = await cast.builder.refused("/answers", _question(outcome.question, outcome.datanet_id, None))
    trained = await cast.builder.refused("/training-orders", training_spec(outcome.datanet_id, 1))
    without_data = {**_question(outcome.question, outcome.datanet_id, outcome.run_id), "datanet_ids": []}
    tuned = await cast.builder.refused("/answers", without_data)
    refusals = {"question": asked, "run": trained, "question to the tuned model alone": tuned}
    for what, refusal in refusals.items():
        say("builder", f"next {what}: " + (f"refused ({refusal.detail})" if refusal else "NOT refused"))
    outcome.refused_after_revoke = all(r is not None and r.status == 403 for r in refusals.values())


def training_spec(datanet: int, rows: int) -> dict[str, Any]:
    """What the demo trains with, as the API takes it."""
    return {
        "base_model": "smollm2-135m-instruct",
        "datanet_ids": [datanet],
        "method": "lora",
        "learning_rate": 1e-3,
        "batch_size": BATCH,
        "epochs": min(100, 2 * math.ceil(STEPS * BATCH / rows)),  # max_steps is what ends it
        "rank": 8,
        "max_steps": STEPS,
        "max_length_tokens": 256,  # a CPU without bfloat16 manages about 100 tokens a second
        "seed": 7,
    }


def _question(text: str, datanet: int, run_id: str | None) -> dict[str, Any]:
    model = {"run_id": run_id} if run_id else {"base": "smollm2-135m-instruct"}
    return {"question": text, "model": model, "datanet_ids": [datanet], "max_tokens": 64, "seed": 7}


async def _until(what: str, look: Callable[[], Awaitable[T | None]], seconds: float = 60) -> T:
    for _ in range(int(seconds / 0.25)):
        found = await look()
        if found is not None:
            return found
        await asyncio.sleep(0.25)
    raise DemoFailed(f"waited {seconds:.0f} s in vain for {what}")
