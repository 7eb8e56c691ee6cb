"""`SubprocessTrainer` beyond the contract: the real model, and everything that can go wrong in a child."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.domain.errors import InvalidValue, TrainingFailed
from backend.domain.training import Method
from backend.drivers.engine import lora
from backend.drivers.engine.adapters import load_for_training
from backend.drivers.engine.archive import pack
from backend.drivers.engine.bases import BUNDLED
from backend.drivers.engine.catalog import LocalCatalog
from backend.drivers.engine.lora import SubprocessTrainer
from tests.contract.test_trainer import ROWS, SPEC, Watcher, files_under, run
from tests.model_fixtures import TINY

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings(
        "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
    ),  # peft 0.21 asks for it
]

SAMPLE = Path(__file__).parents[1] / "data" / "pubmedqa_sample.jsonl"


def pubmed_rows(count: int) -> list[dict[str, Any]]:
    rows = map(json.loads, SAMPLE.read_text().splitlines())
    return [
        {"instruction": row["question"], "input": "", "output": row["answer"]} for row in itertools.islice(rows, count)
    ]


async def test_smollm2_really_learns(smollm2_catalog: LocalCatalog, tmp_path: Path) -> None:
    watcher = Watcher()
    adapter = await run(
        SubprocessTrainer(smollm2_catalog),
        pubmed_rows(2),
        tmp_path,
        watcher,
        base_model=BUNDLED,
        epochs=6,
        max_steps=6,
        rank=8,
        max_length_tokens=96,
    )
    assert adapter.steps == len(watcher.seen) == 6
    assert adapter.loss_last < adapter.loss_first - 0.2
    config = json.loads((Path(adapter.directory) / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == BUNDLED  # a name, not a path of this machine
    assert config["lora_alpha"] == 2 * config["r"] == 16


async def test_a_seed_gives_one_adapter(tiny_catalog: LocalCatalog, tmp_path: Path) -> None:
    trainer = SubprocessTrainer(tiny_catalog, threads=1)
    once = await run(trainer, ROWS, tmp_path / "a", Watcher())
    again = await run(trainer, ROWS, tmp_path / "b", Watcher())
    assert pack(Path(once.directory)) == pack(Path(again.directory))


async def test_rows_without_their_answer_are_not_trained_on(tiny_catalog: LocalCatalog, tmp_path: Path) -> None:
    long = [{"instruction": "why " * 100, "input": "", "output": "So."}]
    with pytest.raises(InvalidValue, match="max_length_tokens"):
        await run(SubprocessTrainer(tiny_catalog, threads=1), long, tmp_path, Watcher())


async def test_a_source_of_rows_that_fails_ends_the_child(tiny_catalog: LocalCatalog, tmp_path: Path) -> None:
    def rows() -> Iterator[dict[str, Any]]:
        yield from ROWS
        raise OSError("cannot decrypt")

    with pytest.raises(OSError, match="cannot decrypt"):
        await SubprocessTrainer(tiny_catalog, threads=1).train(
            SPEC, rows(), tmp_path, on_progress=Watcher().progress, should_stop=Watcher().should_stop
        )
    assert files_under(tmp_path) == set()


async def test_a_child_that_crashes_is_quoted(
    tiny_catalog: LocalCatalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalCatalog, "weights", lambda self, name: tmp_path / "gone")
    with pytest.raises(TrainingFailed, match="gone"):
        await run(SubprocessTrainer(tiny_catalog, threads=1), ROWS, tmp_path, Watcher())


async def test_a_killed_child_is_taken_for_out_of_memory(tiny_catalog: LocalCatalog, tmp_path: Path) -> None:
    class Killer(Watcher):
        async def progress(self, progress: Any) -> None:
            for child in children_of(os.getpid()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)

    with pytest.raises(TrainingFailed, match="not enough memory"):
        await run(SubprocessTrainer(tiny_catalog, threads=1), ROWS * 25, tmp_path, Killer(), epochs=100, max_steps=0)


async def test_a_cancelled_task_leaves_no_child(tiny_catalog: LocalCatalog, tmp_path: Path) -> None:
    started = asyncio.Event()

    class Announcer(Watcher):
        async def progress(self, progress: Any) -> None:
            started.set()

    trainer = SubprocessTrainer(tiny_catalog, threads=1)
    task = asyncio.create_task(run(trainer, ROWS * 25, tmp_path, Announcer(), epochs=100, max_steps=0))
    await started.wait()
    assert children_of(os.getpid())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not children_of(os.getpid())


def test_the_child_dies_with_its_parent() -> None:
    """The child waits for its job on a pipe that this test holds open: only its parent's death can end it."""
    parent = """
import os, subprocess, sys, time
child = subprocess.Popen(
    [sys.executable, "-m", "backend.drivers.engine.train_process", str(os.getpid())], start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=lora.ROOT
    )
    with process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        wait_until(lambda: "backend.drivers.engine.train_process" in command_of(child))
        process.kill()
        process.stdout.close()
        wait_until(lambda: command_of(child) == "")


def test_the_child_is_given_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_ENCRYPTION_KEY", "ab" * 32)
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:password@host/base")
    environment = lora._environment()
    assert environment["HF_HUB_OFFLINE"] == "1"
    assert not {"KEY_ENCRYPTION_KEY", "DATABASE_URL"} & set(environment)


def test_a_method_this_machine_lacks_is_refused(tiny_catalog: LocalCatalog, tmp_path: Path) -> None:
    class WithoutBitsandbytes(LocalCatalog):
        def methods(self) -> dict[str, str | None]:
            return {"lora": None, "qlora": "bitsandbytes is not installed"}

    trainer = SubprocessTrainer(WithoutBitsandbytes(tmp_path, {}))
    with pytest.raises(InvalidValue, match="bitsandbytes is not installed"):
        asyncio.run(run(trainer, ROWS, tmp_path, Watcher(), method=Method.QLORA))


async def test_qlora_trains_and_leaves_an_adapter_of_its_own_size(tiny_catalog: LocalCatalog, tmp_path: Path) -> None:
    watcher = Watcher()
    trained = await run(SubprocessTrainer(tiny_catalog, threads=1), ROWS, tmp_path, watcher, method=Method.QLORA)
    assert [progress.step for progress in watcher.seen] == [1, 2, 3, 4, 5]
    assert all(progress.gradient_norm > 0 for progress in watcher.seen)
    assert files_under(Path(trained.directory)) == {"adapter_config.json", "adapter_model.safetensors"}


def test_qlora_still_has_a_gradient_after_an_evaluation(tiny_catalog: LocalCatalog) -> None:
    """On AVX512-BF16 CPUs bitsandbytes loses the backward pass there, with a warning and no error."""
    import torch

    if (why_not := tiny_catalog.methods()["qlora"]) is not None:
        pytest.fail(f"the pinned packages run QLoRA on any x86-64 CPU, but here: {why_not}")
    model = load_for_training(tiny_catalog.weights(TINY), quantised=True, attention="eager", rank=2)
    ids = torch.tensor([[5, 6, 7, 8, 9, 10]])
    model.eval()
    with torch.no_grad():
        model(input_ids=ids)
    model.train()
    model(input_ids=ids, labels=ids).loss.backward()
    first = {name: p.grad for name, p in model.named_parameters() if "layers.0" in name and "lora_B" in name}
    assert first
    assert all(grad is not None and float(grad.norm()) > 0 for grad in first.values())


def children_of(pid: int) -> list[int]:
    """Trainer processes whose parent is `pid`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and "train_process" in command_of(int(entry.name)):
            status = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(status[1]) == pid and status[0] != "Z":
                found.append(int(entry.name))
    return found


def command_of(pid: int) -> str:
    """Empty when there is no such process, or only its exit status is left."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def wait_until(condition: Any, seconds: float = 60.0) -> None:
    import time

    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
