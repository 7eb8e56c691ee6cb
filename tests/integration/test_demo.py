"""`byline demo --json`: the whole story in a home of its own, on rows of a stranger's."""

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from backend.drivers.chain.transactions import account_of
from backend.drivers.chain.wallet import local_test_key
from backend.drivers.engine.catalog import LocalCatalog
from tests.model_fixtures import MODELS_DIR
from tests.system_fixtures import ROOT, byline_environment, free_port

pytestmark = pytest.mark.integration

PROMISED = (
    "datanet_id", "run_id", "adapter_digest", "loss_first", "loss_last", "question", "answer", "shares_bps",
    "receipt_digest", "anchor_tx", "audit", "refused_after_revoke",
)  # fmt: skip
ROWS = [
    {"question": f"What does herb number {number} help against?", "contexts": [context], "answer": context}
    for number, context in enumerate(
        ["Chamomile calms the stomach.", "Ginger helps against nausea.", "Willow bark eases pain."] * 2
    )
]


def test_the_demo_tells_the_whole_story_and_ends_with_what_it_promised(
    smollm2_catalog: LocalCatalog, tmp_path: Path
) -> None:
    home, port, data = tmp_path / "home", free_port(), tmp_path / "rows.jsonl"
    home.mkdir()
    (home / "models").symlink_to(MODELS_DIR)  # unpacked once for all tests
    data.write_text("\n".join(json.dumps(row) for row in ROWS))

    def byline(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "backend.cli", *arguments],
            cwd=ROOT, env=byline_environment(home, port), capture_output=True, text=True, check=False,
        )  # fmt: skip

    try:
        demo = byline("demo", "--json", "--data", str(data))
        assert demo.returncode == 0, demo.stderr
        told = json.loads(demo.stdout.splitlines()[-1])
        assert tuple(told) == PROMISED
        assert told["question"] == ROWS[0]["question"]
        assert (told["audit"], told["refused_after_revoke"]) == ("verified", True)
        contributors = {account_of(local_test_key(index)).address for index in (2, 3, 4)}
        assert set(told["shares_bps"]) <= contributors | {"nobody"}
        assert sum(told["shares_bps"].values()) == 10_000
        assert told["loss_last"] < told["loss_first"]
        assert all(len(told[key]) == 66 for key in ("adapter_digest", "receipt_digest", "anchor_tx"))
        assert "step 24/24" in demo.stderr  # progress, as it went
        assert (
            httpx.get(f"http://127.0.0.1:{port}/api/health", timeout=60).json()["status"] == "ok"
        )  # it stays up for a look
        audit = byline("audit", told["receipt_digest"], "--json")
        assert (audit.returncode, json.loads(audit.stdout)["verdict"]) == (0, "verified")
    finally:
        byline("down")
    assert byline("status").returncode == 1
