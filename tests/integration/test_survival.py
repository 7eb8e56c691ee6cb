"""What is killed, cut off or held up here comes back, and nothing is lost, done twice or answered wrongly.

The whole of Byline runs as `byline up` runs it; every kill is a real SIGKILL of a real process.
"""

import asyncio
import itertools
import json
import logging
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from backend.drivers.engine.catalog import LocalCatalog
from tests.integration.processes import SERVICES, until, until_gone
from tests.integration.stage import QUESTION, Stage, open_stage
from tests.model_fixtures import MODELS_DIR
from tests.system_fixtures import STOP_SECONDS, free_port

pytestmark = pytest.mark.integration
log = logging.getLogger(__name__)

PARTS = (*SERVICES, "worker", "web")
MOMENTS = itertools.cycle((0.4, 1.1, 0.05, 1.8, 0.7, 2.4))  # a receipt is queued, signed, sent and mined within them


@pytest.fixture(scope="module")
async def stage(smollm2_catalog: LocalCatalog, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with open_stage(tmp_path_factory.mktemp("survival") / "home", MODELS_DIR, free_port()) as opened:
        yield opened


async def a_moment() -> None:
    """Another one each time, and the same ones in each run of the tests."""
    seconds = next(MOMENTS)
    log.warning("kill -9 after %.3f s", seconds)
    await asyncio.sleep(seconds)


async def assert_every_receipt_is_anchored_once(stage: Stage) -> None:
    """On chain: one checkpoint a size, and for each receipt exactly the credits that its answer showed."""
    sizes = [event.args["size"] for event in await stage.events("CheckpointAnchored")]
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == len(stage.receipts)

    credited = await stage.events("Credited")
    counted = Counter((e.args["receipt"], e.args["contributor"], e.args["datanetId"]) for e in credited)
    assert set(counted.values()) <= {1}
    shares = {
        (answer["receipt_digest"], contributor, stage.datanet): bps
        for answer in await stage.builder.get("/answers")
        for contributor, bps in answer["shares_bps"].items()
        if contributor != "nobody" and bps > 0
    }
    on_chain = {(e.args["receipt"], e.args["contributor"], e.args["datanetId"]): e.args["shareBps"] for e in credited}
    assert on_chain == shares


async def test_a_worker_killed_while_it_trains_takes_the_run_up_again_and_registers_one_model(stage: Stage) -> None:
    run_id = await stage.start_run(max_steps=20)  # enough that it cannot end before the kill

    await stage.first("progress", "GET", f"/training-runs/{run_id}/events")
    family = stage.family()
    worker = stage.kill("worker")
    assert (await stage.run(run_id))["status"] == "training"  # nobody was there to end it

    run = await stage.ended(run_id)
    assert run["status"] == "done", run["problem"]
    assert stage.pid_of("worker") != worker.pid
    kept = {process.pid for process in stage.family()}
    trainers = [process for process in family if process.pid not in kept]
    await until_gone(trainers)  # the killed worker's trainer went with it

    registered = [e for e in await stage.events("ModelRegistered") if e.args["trainer"] == stage.builder.wallet]
    mine = [e for e in registered if e.args["adapterDigest"] == run["adapter_digest"]]
    assert [(e.args["modelId"], e.tx_hash) for e in mine] == [(run["model_id"], run["registration_tx"])]


async def test_who_hangs_up_during_an_answer_finds_its_receipt_anchored_all_the_same(stage: Stage) -> None:
    known = {answer["receipt_digest"] for answer in await stage.builder.get("/answers")}
    await stage.first("token", "POST", "/answers", stage.question() | {"max_tokens": 400})

    async def unheard() -> dict[str, Any] | None:
        answers = await stage.builder.get("/answers")
        return next((answer for answer in answers if answer["receipt_digest"] not in known), None)

    answer = await until("the receipt of an answer that nobody heard", unheard)
    assert sum(answer["shares_bps"].values()) == 10_000
    stage.receipts.append(answer["receipt_digest"])
    await stage.anchored(answer["receipt_digest"])


async def test_an_answer_that_the_server_was_killed_over_gets_its_receipt_from_the_next(stage: Stage) -> None:
    known = {answer["receipt_digest"] for answer in await stage.builder.get("/answers")}
    await stage.first("token", "POST", "/answers", stage.question() | {"max_tokens": 40})
    stage.kill("web")
    await stage.until_healthy()

    async def ended() -> dict[str, Any] | None:
        answers = await stage.builder.get("/answers")
        return next((answer for answer in answers if answer["receipt_digest"] not in known), None)

    answer = await until("the receipt of an answer that the server was killed over", ended)
    assert answer["text"].strip()
    assert sum(answer["shares_bps"].values()) == 10_000
    stage.receipts.append(answer["receipt_digest"])
    await stage.anchored(answer["receipt_digest"])


async def test_a_receipt_given_just_before_kill_9_of_everything_is_anchored_exactly_once(stage: Stage) -> None:
    before = await stage.remembered()
    os.kill(stage.pid_of("worker"), signal.SIGSTOP)  # so that nothing can be anchored
    digest = await stage.ask()
    assert (await stage.builder.get(f"/receipts/{digest}"))["status"] == "pending"
    await stage.kill_everything()

    await stage.start()
    await stage.anchored(digest)
    await assert_every_receipt_is_anchored_once(stage)
    after = await stage.remembered()
    newest, *others = after.pop("answers")
    assert (newest["receipt_digest"], others) == (digest, before.pop("answers"))
    assert after == before
    audit = await stage.command("audit", digest)
    assert audit.returncode == 0, audit.stdout + audit.stderr
    assert "verified" in audit.stdout


async def test_kill_9_at_any_moment_of_anchoring_neither_loses_a_receipt_nor_anchors_it_twice(stage: Stage) -> None:
    digest = await stage.ask()
    await a_moment()
    await stage.kill_everything()
    await stage.start()
    await stage.anchored(digest)
    again = await stage.ask()  # the log goes on
    await stage.anchored(again)
    await assert_every_receipt_is_anchored_once(stage)


async def test_a_worker_killed_again_and_again_while_anchoring_anchors_once(stage: Stage) -> None:
    for _ in range(2):
        digest = await stage.ask()
        await a_moment()
        await stage.until_up("worker")
        stage.kill("worker")
    await stage.anchored(digest)
    await assert_every_receipt_is_anchored_once(stage)


async def test_a_publication_that_ipfs_dies_under_is_refused_whole_and_works_once_it_is_back(stage: Stage) -> None:
    datanet = await stage.new_datanet()
    draft = await stage.upload(datanet)
    body = {"draft_id": draft, "on_bad_row": "refuse"}
    os.kill(stage.pid_of("ipfs"), signal.SIGSTOP)  # what is sent now is taken in and never answered
    sending = asyncio.create_task(stage.owner.refused(f"/datanets/{datanet}/versions", body))
    await asyncio.sleep(1)
    assert not sending.done()
    with stage.down("ipfs"):
        for refusal in (await sending, await stage.owner.refused(f"/datanets/{datanet}/versions", body)):
            assert refusal is not None
            assert (refusal.status, refusal.error) == (503, "ContentUnavailable")
            assert "IPFS does not deliver" in refusal.detail
            assert "nothing was changed" in refusal.detail
        shown = await stage.owner.get(f"/datanets/{datanet}")
        assert (shown["version"], shown["versions"]) == (0, [])
        assert (await stage.health())["ipfs"] is False

    await stage.until_healthy()
    version = await stage.owner.post(f"/datanets/{datanet}/versions", body)  # the draft had stayed
    assert (version["version"], version["records"]) == (1, 6)


async def test_while_the_chain_is_down_nobody_is_told_no_and_no_model_answers(stage: Stage) -> None:
    answers = await stage.builder.get("/answers")
    with stage.down("chain"):
        refusal = await stage.builder.refused("/answers", stage.question())
        assert refusal is not None
        assert (refusal.status, refusal.error) == (503, "ChainUnavailable")
        assert "the chain does not answer" in refusal.detail
        assert await stage.builder.get("/answers") == answers
        doctor = await stage.command("doctor", "--json")
    assert doctor.returncode == 1
    found = {component["name"]: component for component in json.loads(doctor.stdout)["components"]}
    assert [name for name, component in found.items() if not component["ok"]] == ["chain", "contracts"]
    assert "the chain does not answer" in found["chain"]["problem"]
    assert "`byline up` starts it again by itself" in found["chain"]["problem"]
    assert "deploy" not in found["contracts"]["problem"]  # they are where they were

    await stage.until_healthy()
    await stage.anchored(await stage.ask())
    await assert_every_receipt_is_anchored_once(stage)


async def test_while_the_database_is_down_everything_says_so_and_works_again_afterwards(stage: Stage) -> None:
    before = await stage.remembered()
    with stage.down("postgres"):
        asked = await stage.builder.refused("/answers", stage.question())
        signed_in = await stage.builder.refused("/sessions/challenges", {"address": stage.builder.wallet})
        read = await stage.http.get("/api/answers")
        assert asked is not None
        assert signed_in is not None
        for status, error, detail in (
            (asked.status, asked.error, asked.detail),
            (signed_in.status, signed_in.error, signed_in.detail),
            (read.status_code, read.json()["error"], read.json()["detail"]),
        ):
            assert (status, error) == (503, "DatabaseUnavailable")
            assert "the database does not answer" in detail
        assert (await stage.health())["database"] is False

    await stage.until_healthy()
    assert await stage.remembered() == before
    await stage.anchored(await stage.ask())
    await assert_every_receipt_is_anchored_once(stage)


async def test_a_database_that_falls_over_while_a_run_trains_does_not_fail_the_run(stage: Stage) -> None:
    run_id = await stage.start_run(max_steps=3)
    await stage.first("progress", "GET", f"/training-runs/{run_id}/events")
    with stage.down("postgres"):
        await asyncio.sleep(5)  # steps are made, and nobody takes note
    await stage.until_healthy()
    run = await stage.ended(run_id)
    assert run["status"] == "done", run["problem"]
    registered = [e for e in await stage.events("ModelRegistered") if e.args["modelId"] == run["model_id"]]
    assert [(e.args["adapterDigest"], e.tx_hash) for e in registered] == [
        (run["adapter_digest"], run["registration_tx"])
    ]

    following = await stage.start_run(max_steps=100)  # the queue has found back too
    await stage.first("progress", "GET", f"/training-runs/{following}/events")
    await stage.builder.post(f"/training-runs/{following}/cancel", {})
    assert (await stage.ended(following))["status"] == "cancelled"


async def test_a_second_up_in_the_same_home_is_refused_and_harms_nothing(stage: Stage) -> None:
    parts, addresses = {part: stage.pid_of(part) for part in PARTS}, stage.addresses()
    second = await stage.command("up", PORT=str(free_port()))
    assert second.returncode == 1
    assert f"Byline runs already in {stage.home} (process {stage.running.process.pid}, " in second.stderr
    assert "`byline down` stops it" in second.stderr
    assert {part: stage.pid_of(part) for part in PARTS} == parts
    assert all((await stage.health()).values())
    kept = [int((stage.home / f"{name}.port").read_text()) for name in ("chain", "ipfs")]
    assert [addresses["RPC_URL"], addresses["IPFS_API"]] == [f"http://127.0.0.1:{port}" for port in kept]


async def test_ctrl_c_stops_everything_and_the_next_start_has_everything(stage: Stage) -> None:
    await stage.an_anchored_receipt()
    before, family, addresses = await stage.remembered(), stage.family(), stage.addresses()
    stage.running.process.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(stage.running.process.wait, STOP_SECONDS) == 0
    await until_gone(family)
    assert not (stage.home / "run.json").exists()

    await stage.start()
    assert await stage.remembered() == before
    assert stage.addresses() == addresses  # whoever wrote them down still finds the services
    await assert_every_receipt_is_anchored_once(stage)


async def test_an_audit_tells_verified_refuted_and_could_not_tell_apart(stage: Stage, tmp_path: Path) -> None:
    digest = await stage.an_anchored_receipt()
    file = await stage.builder.get(f"/receipts/{digest}/file")
    honest, forged = tmp_path / "honest.json", tmp_path / "forged.json"
    honest.write_text(json.dumps(file))
    share = next(leaf for leaf in file["receipt"]["leaves"] if leaf.get("tag") == "share")
    share["value"]["share_bps"] = 10_000 - share["value"]["share_bps"]
    forged.write_text(json.dumps(file))
    nowhere = f"http://127.0.0.1:{free_port()}"

    verified, refuted = await stage.command("audit", str(honest)), await stage.command("audit", str(forged), "--json")
    unseen = await stage.command("audit", str(honest), "--json", RPC_URL=nowhere)

    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert QUESTION not in verified.stdout
    assert refuted.returncode == 1
    wrong = [check for check in json.loads(refuted.stdout)["checks"] if check["verdict"] == "refuted"]
    assert any("share" in check["name"] for check in wrong), wrong
    assert unseen.returncode == 2, unseen.stdout + unseen.stderr
    checks = json.loads(unseen.stdout)["checks"]
    assert {check["verdict"] for check in checks} == {"verified", "unknown"}  # what needs no chain still holds
    assert any("the chain does not answer" in check["detail"] for check in checks)
