"""A Byline of its own to use, kill and start again, and the two people who use it over the public API."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx

from backend.demo.actor import Actor
from backend.demo.story import Cast, publish
from backend.deployments import load_contracts
from backend.domain.consent import PLAIN_TERMS
from backend.domain.types import Purpose, Wallet
from backend.drivers.chain.connection import ChainConnection
from backend.drivers.chain.events import Web3ChainEvents
from backend.drivers.chain.transactions import account_of
from backend.drivers.chain.wallet import local_test_key
from backend.embedded.processes import ProcessId, identify, is_alive
from backend.embedded.run_file import read_run
from backend.ports import ChainEvent
from backend.preparing import ARTIFACTS
from backend.settings import Settings
from tests.integration.processes import PATIENCE_SECONDS, SERVICES, child_running, family_of, until, until_gone
from tests.system_fixtures import ROOT, RunningByline, start_byline, stop_byline

BASE = "smollm2-135m-instruct"
QUESTION = "Which herb calms the stomach?"
CONTRIBUTORS = [Wallet(account_of(local_test_key(index)).address) for index in (2, 3, 4)]
ROWS = [
    {"instruction": question, "input": "", "output": answer, "contributor": CONTRIBUTORS[number % 3]}
    for number, (question, answer) in enumerate(
        [
            ("Which herb calms the stomach?", "Chamomile tea calms the stomach."),
            ("What thins the blood?", "Warfarin thins the blood."),
            ("What lowers a fever?", "Paracetamol lowers a fever."),
            ("Which root helps against nausea?", "Ginger helps against nausea."),
            ("What do kidneys do?", "Kidneys filter the blood."),
            ("Where is insulin made?", "Insulin is made in the pancreas."),
        ]
    )
]


@dataclass
class Stage:
    """`home` is this Byline's alone: every process that is killed here is found below its supervisor."""

    running: RunningByline
    owner: Actor
    builder: Actor
    chain: ChainConnection
    http: httpx.AsyncClient  # the builder's
    datanet: int = 0
    receipts: list[str] = field(default_factory=list)  # every one that was given

    @property
    def home(self) -> Path:
        return self.running.home

    # --- its processes ---------------------------------------------------------------------------

    def family(self) -> list[ProcessId]:
        """The supervisor and everything below it."""
        return family_of(self.running.process.pid)

    def addresses(self) -> dict[str, str]:
        """Of its services, as their users know them."""
        run = read_run(self.home)
        assert run is not None
        return {name: run.environment[name] for name in ("DATABASE_URL", "RPC_URL", "IPFS_API")}

    def pid_of(self, part: str) -> int:
        """Of "worker" or "web" as run.json says, of a service by its command line."""
        if part in SERVICES:
            return child_running(self.running.process.pid, SERVICES[part])
        run = read_run(self.home)
        assert run is not None
        [found] = [each.pid for each in run.parts if each.name == part]
        assert found is not None, f"{part} is not up"
        return found

    async def until_up(self, part: str) -> None:
        async def up() -> bool | None:
            run = read_run(self.home)
            return (run is not None and any(p.name == part and p.pid is not None for p in run.parts)) or None

        await until(f"{part} is up", up)

    def kill(self, part: str) -> ProcessId:
        process = identify(self.pid_of(part))
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        return process

    @contextmanager
    def down(self, part: str) -> Iterator[None]:
        """`part` is killed, and stays away: its supervisor is held meanwhile, and starts it again afterwards."""
        os.kill(self.running.process.pid, signal.SIGSTOP)
        try:
            family = family_of(self.pid_of(part))
            self.kill(part)
            for process in family:  # a postmaster's children answer for a moment longer than it does
                while is_alive(process):
                    time.sleep(0.05)
            yield
        finally:
            os.kill(self.running.process.pid, signal.SIGCONT)

    async def kill_everything(self) -> None:
        """`kill -9` of the supervisor; returns once nothing of it is left."""
        family = self.family()
        self.running.process.kill()
        self.running.process.wait()
        await until_gone(family)

    async def start(self) -> None:
        self.running = await asyncio.to_thread(start_byline, self.home, self.running.port)

    async def command(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """`byline …` against this home."""
        return await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "backend.cli", *arguments],
            cwd=ROOT, env={**self.running.environment, **environment}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    # --- its use ---------------------------------------------------------------------------------

    async def new_datanet(self) -> int:
        """An empty one of the owner's, once the API lists it."""
        known = {d["datanet_id"] for d in await self.owner.get("/datanets")}
        await self.owner.send("createDatanet", "Remedies", PLAIN_TERMS.struct(), "", int(Purpose.NONE))

        async def listed() -> int | None:
            return next(
                (d["datanet_id"] for d in await self.owner.get("/datanets") if d["datanet_id"] not in known), None
            )

        return await until("the new datanet in the list", listed)

    async def upload(self, datanet: int) -> str:
        """The draft's id."""
        content = "\n".join(json.dumps(row) for row in ROWS).encode()
        return str((await self.owner.upload(f"/datanets/{datanet}/drafts", "rows.jsonl", content, {}))["draft_id"])

    def question(self) -> dict[str, Any]:
        return {
            "question": QUESTION,
            "model": {"base": BASE},
            "datanet_ids": [self.datanet],
            "max_tokens": 8,
            "seed": 7,
        }

    async def ask(self) -> str:
        """The digest of the answer's receipt, the moment it is given."""
        receipt = await self.first("receipt", "POST", "/answers", self.question())
        self.receipts.append(receipt["receipt_digest"])
        return self.receipts[-1]

    async def first(self, wanted: str, method: str, path: str, body: Any = None) -> Any:
        """The data of a stream's first event of that name, without waiting for what follows it."""
        events = self.builder.events(method, path, body)
        async with aclosing(cast("AsyncGenerator[tuple[str, Any], None]", events)) as opened:
            async for name, data in opened:
                assert name != "error", data
                if name == wanted:
                    return data
        raise AssertionError(f"{path} ended without {wanted}")

    async def anchored(self, digest: str) -> dict[str, Any]:
        """Its checkpoint, once the API shows it."""

        async def look() -> dict[str, Any] | None:
            found: dict[str, Any] | None = (await self.builder.get(f"/receipts/{digest}"))["anchored"]
            return found

        return await until(f"receipt {digest} anchored", look)

    async def an_anchored_receipt(self) -> str:
        digest = self.receipts[-1] if self.receipts else await self.ask()
        await self.anchored(digest)
        return digest

    async def start_run(self, max_steps: int) -> str:
        spec = {
            "base_model": BASE,
            "datanet_ids": [self.datanet],
            "method": "lora",
            "learning_rate": 3e-4,
            "batch_size": 1,
            "epochs": 10,  # max_steps is what ends it
            "rank": 4,
            "max_steps": max_steps,
            "max_length_tokens": 96,
            "seed": 7,
        }
        order = await self.builder.post("/training-orders", spec)
        signature = self.builder.sign_typed_data(order["typed_data"])
        body = {"spec": spec, "order": order["order"], "signature": signature}
        return str((await self.builder.post("/training-runs", body))["run_id"])

    async def run(self, run_id: str) -> dict[str, Any]:
        return dict(await self.builder.get(f"/training-runs/{run_id}"))

    async def ended(self, run_id: str) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            run = await self.run(run_id)
            return run if run["ended_at"] else None

        return await until(f"the end of run {run_id}", look)

    async def events(self, name: str) -> list[ChainEvent]:
        """From the chain itself, not from the mirror of it."""
        source = Web3ChainEvents(self.chain)
        return [event for event in await source.events(0, (await source.head()).number) if event.name == name]

    async def health(self) -> dict[str, bool]:
        answered = (await self.http.get("/api/health")).json()
        return {component["name"]: component["ok"] for component in answered["components"]}

    async def until_healthy(self) -> None:
        async def healthy() -> bool | None:
            with contextlib.suppress(httpx.HTTPError):
                return all((await self.health()).values()) or None
            return None

        await until("every component answers", healthy)

    async def remembered(self) -> dict[str, Any]:
        """All that must outlive a restart, as the two of them see it over the API with the sessions they had."""
        seen = {
            "datanet": await self.owner.get(f"/datanets/{self.datanet}"),
            "answers": await self.builder.get("/answers"),
            "runs": await self.builder.get("/training-runs"),
            "models": (await self.builder.get("/models"))["tuned"],
        }
        sessions = [await _ids(person, "/sessions", "session_id") for person in (self.owner, self.builder)]
        return {"sessions": sessions, **_without_depths(seen)}


def _without_depths(seen: Any) -> Any:
    """Everything on chain is deeper with each block."""
    if isinstance(seen, dict):
        return {key: _without_depths(item) for key, item in seen.items() if key not in ("confirmations", "final")}
    return [_without_depths(item) for item in seen] if isinstance(seen, list) else seen


async def _ids(person: Actor, path: str, key: str) -> set[str]:
    return {each[key] for each in await person.get(path)}


@asynccontextmanager
async def open_stage(home: Path, models: Path, port: int) -> AsyncIterator[Stage]:
    """A Byline in `home` with a published datanet that the builder may train on and retrieve from."""
    running = await asyncio.to_thread(_start_first, home, models, port)
    place: dict[str, Any] = {"byline_home": home, "port": port}
    settings = Settings(**place)
    run = read_run(home)
    assert run is not None
    chain = ChainConnection(run.environment["RPC_URL"], settings.chain_id, load_contracts(settings), ARTIFACTS)
    base, headers = f"http://127.0.0.1:{port}", {"Origin": settings.public_origin}
    async with (
        httpx.AsyncClient(base_url=base, headers=headers, timeout=PATIENCE_SECONDS) as owner_http,
        httpx.AsyncClient(base_url=base, headers=headers, timeout=PATIENCE_SECONDS) as builder_http,
    ):
        owner = Actor("owner", local_test_key(0), owner_http, chain)
        builder = Actor("builder", local_test_key(1), builder_http, chain)
        stage = Stage(running, owner, builder, chain, builder_http)
        try:
            await owner.sign_in()
            await builder.sign_in()
            stage.datanet = await publish(Cast(owner, builder, CONTRIBUTORS), ROWS, lambda who, what: None)
            await owner.send("grant", stage.datanet, builder.wallet, int(Purpose.TRAIN | Purpose.RETRIEVE), 0)
            yield stage
        finally:
            await chain.close()
            await asyncio.to_thread(stop_byline, stage.running)
            _clear(home)


def _start_first(home: Path, models: Path, port: int) -> RunningByline:
    home.mkdir(parents=True)
    (home / "models").symlink_to(models)  # unpacked once for all tests
    return start_byline(home, port)


def _clear(home: Path) -> None:
    cluster = home / "postgres"
    if cluster.is_symlink():  # as root it lies where `nobody` can reach it
        shutil.rmtree(cluster.readlink(), ignore_errors=True)
