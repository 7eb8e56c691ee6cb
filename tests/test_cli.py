"""`byline doctor`, `status`, `down`: what they say when nothing runs, or a setting is wrong."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from backend.cli import app
from backend.settings import Settings


@pytest.fixture(autouse=True)
def empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in [*os.environ]:
        if name.lower() in Settings.model_fields or name == "BYLINE_CONFIG":
            monkeypatch.delenv(name)
    monkeypatch.setenv("PORT", "1")  # nobody answers there
    return tmp_path


def findings() -> tuple[int, dict[str, dict[str, object]]]:
    result = CliRunner().invoke(app, ["doctor", "--json"])
    document = json.loads(result.stdout)
    assert document["ok"] is (result.exit_code == 0)
    return result.exit_code, {component["name"]: component for component in document["components"]}


def test_the_doctor_says_what_to_do_when_nothing_runs() -> None:
    status, found = findings()
    assert status == 1
    for name in ("postgres", "chain", "ipfs", "worker", "web"):
        assert found[name]["ok"] is False
        assert found[name]["problem"] == "not running: make up"
    assert found["python"]["ok"] is True
    assert found["postgres"]["used"] == "embedded"


def test_the_doctor_names_the_setting_of_what_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://app:hunter2@127.0.0.1:1/byline")
    monkeypatch.setenv("RPC_URL", "http://127.0.0.1:1/v3/hunter2")
    monkeypatch.setenv("IPFS_API", "http://me:hunter2@127.0.0.1:1")
    _, found = findings()
    for name, key in (("postgres", "DATABASE_URL"), ("chain", "RPC_URL"), ("ipfs", "IPFS_API")):
        assert found[name]["ok"] is False
        assert key in str(found[name]["problem"])
        assert "127.0.0.1:1" in str(found[name]["used"])
    assert "hunter2" not in json.dumps(found)


def test_the_table_holds_what_the_json_holds() -> None:
    result = CliRunner().invoke(app, ["doctor"], env={"COLUMNS": "200"})
    assert result.exit_code == 1
    for name in findings()[1]:
        assert name in result.stdout


@pytest.mark.parametrize("command", ["up", "down", "status", "doctor"])
def test_a_wrong_setting_ends_every_command_with_its_name_and_no_traceback(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAIN_ID", "mainnet")
    result = CliRunner().invoke(app, [command])
    assert result.exit_code == 2
    assert "CHAIN_ID (environment)" in result.stderr
    assert "Traceback" not in result.output


def test_status_and_down_say_so_when_nothing_runs() -> None:
    status = CliRunner().invoke(app, ["status"])
    assert status.exit_code == 1
    assert "nothing runs" in status.stdout
    down = CliRunner().invoke(app, ["down"])
    assert down.exit_code == 0
    assert "nothing runs" in down.stdout
