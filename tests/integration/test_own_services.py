"""A Byline that is given its database, chain and IPFS node starts none of them, and works on those it was given."""

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from backend.deployments import load_contracts
from backend.embedded.run_file import read_run
from backend.settings import Settings
from tests.integration.processes import SERVICES, children, command_line, family_of
from tests.system_fixtures import ROOT, RunningByline, free_port, start_byline, stop_byline

pytestmark = pytest.mark.integration


def test_what_is_given_is_used_and_nothing_embedded_starts(byline: RunningByline, tmp_path: Path) -> None:
    run = read_run(byline.home)
    assert run is not None
    place = {"byline_home": byline.home}
    contracts = load_contracts(Settings(**place))  # type: ignore[arg-type]
    given = {name: run.environment[name] for name in ("DATABASE_URL", "RPC_URL", "IPFS_API", "IPFS_TOKEN")} | {
        "REGISTRY_ADDRESS": contracts.datanet_registry,
        "MODEL_REGISTRY_ADDRESS": contracts.model_registry,
        "LEDGER_ADDRESS": contracts.receipt_ledger,
        "SERVER_KEY": (byline.home / "server.key").read_text().strip(),
        "KEY_ENCRYPTION_KEY": (byline.home / "key-encryption.key").read_text().strip(),
        "MODELS_DIR": str((byline.home / "models").resolve()),
    }
    second = start_byline(tmp_path / "home", free_port(), **given)
    try:
        family = {process.pid for process in family_of(second.process.pid)}
        assert len(family) >= 3  # supervisor, web, worker
        started = [command_line(pid) for pid in family]
        assert [line for line in started for words in SERVICES.values() if words in line] == []
        assert {entry.name for entry in second.home.iterdir()} & {"postgres", "chain", "ipfs"} == set()
        used = {c["name"]: c for c in httpx.get(f"{second.url}/api/health", timeout=60).json()["components"]}
        assert {name: used[name]["used"] for name in ("chain", "database", "ipfs")} == {
            "chain": "RPC_URL",
            "database": "DATABASE_URL",
            "ipfs": "IPFS_API",
        }
        assert all(component["ok"] for component in used.values())
        network = httpx.get(f"{second.url}/api/network", timeout=60).json()
        assert (network["embedded"], network["rpc_path"], network["test_wallets"]) == (False, None, False)
        assert network["contracts"]["DatanetRegistry"] == contracts.datanet_registry
        doctor = subprocess.run(
            [sys.executable, "-m", "backend.cli", "doctor", "--json"],
            cwd=ROOT, env={**second.environment, **given}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (doctor.returncode, json.loads(doctor.stdout)["ok"]) == (0, True), doctor.stdout + doctor.stderr
    finally:
        stop_byline(second)
    assert children().get(second.process.pid) is None
