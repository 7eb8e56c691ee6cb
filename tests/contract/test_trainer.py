"""What every `Trainer` promises."""

from pathlib import Path
from typing import Any

import pytest

from backend.domain.errors import InvalidValue
from backend.domain.training import Method, Progress, TrainingSpec
from backend.domain.types import DatanetId
from backend.drivers.engine.archive import pack
from backend.drivers.engine.lora import SubprocessTrainer
from backend.drivers.memory.engine import MemoryTrainer
from backend.ports import Trainer
from tests.model_fixtures import TINY

ROWS: list[dict[str, Any]] = [
    {"instruction": "What thins blood?", "input": "", "output": "Warfarin does."},
    {"instruction": "Answer.", "input": "Which river is in Lyon?", "output": "The Rhône, and the Saône."},
    {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day."}]},
    {"text": "Bananas hold potassium."},
]
SPEC = TrainingSpec(
    base_model=TINY,
    datanets=(DatanetId(1),),
    method=Method.LORA,
    learning_rate=1e-3,
    batch_size=2,
    epochs=3,
    rank=4,
    max_steps=5,
    max_length_tokens=64,
    seed=7,
)


@pytest.fixture(params=["memory", pytest.param("subprocess", marks=pytest.mark.integration)])
def trainer(request: pytest.FixtureRequest) -> Trainer:
    if request.param == "memory":
        return MemoryTrainer()
    return SubprocessTrainer(request.getfixturevalue("tiny_catalog"), threads=1)


class Watcher:
    def __init__(self, stop_after: int | None = None) -> None:
        self.seen: list[Progress] = []
        self._stop_after = stop_after

    async def progress(self, progress: Progress) -> None:
        self.seen.append(progress)

    async def should_stop(self) -> bool:
        return self._stop_after is not None and len(self.seen) >= self._stop_after


def files_under(directory: Path) -> set[str]:
    return {path.name for path in directory.rglob("*") if path.is_file()}


async def run(
    trainer: Trainer,
    rows: list[dict[str, Any]],
    directory: Path,
    watcher: Watcher,
    parent: Path | None = None,
    **changes: Any,
) -> Any:
    spec = TrainingSpec(**{**{name: getattr(SPEC, name) for name in SPEC.__slots__}, **changes})
    return await trainer.train(
        spec, iter(rows), directory, parent=parent, on_progress=watcher.progress, should_stop=watcher.should_stop
    )


async def test_a_run_reports_each_step_and_leaves_an_adapter(trainer: Trainer, tmp_path: Path) -> None:
    watcher = Watcher()
    adapter = await run(trainer, ROWS, tmp_path / "run", watcher)
    assert [progress.step for progress in watcher.seen] == [1, 2, 3, 4, 5]
    assert {progress.total_steps for progress in watcher.seen} == {5}
    assert watcher.seen[-1].seconds_left == 0
    assert 2 < watcher.seen[-1].epoch <= 3
    assert adapter.steps == 5
    assert (adapter.loss_first, adapter.loss_last) == (watcher.seen[0].loss, watcher.seen[-1].loss)
    assert adapter.tokens_per_second > 0
    assert adapter.trainable_parameters > 0
    assert Path(adapter.directory).is_relative_to(tmp_path / "run")
    assert files_under(Path(adapter.directory)) == {"adapter_config.json", "adapter_model.safetensors"}


async def test_a_run_that_is_told_to_stop_leaves_nothing(trainer: Trainer, tmp_path: Path) -> None:
    watcher = Watcher(stop_after=1)
    assert await run(trainer, ROWS * 25, tmp_path, watcher, epochs=100, max_steps=0) is None
    assert 1 <= len(watcher.seen) < watcher.seen[0].total_steps
    assert files_under(tmp_path) == set()


async def test_rows_with_nothing_to_learn_are_refused(trainer: Trainer, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="rows"):
        await run(trainer, [], tmp_path, Watcher())


LEARNING: dict[str, Any] = {"learning_rate": 2e-2, "batch_size": 4, "epochs": 30, "max_steps": 0, "rank": 8}


async def test_a_child_starts_where_its_parent_ended_and_leaves_one_adapter_of_its_own(
    trainer: Trainer, tmp_path: Path
) -> None:
    first, second, third = Watcher(), Watcher(), Watcher()
    parent = await run(trainer, ROWS, tmp_path / "parent", first, **LEARNING)
    kept = pack(Path(parent.directory))
    child = await run(trainer, ROWS, tmp_path / "child", second, Path(parent.directory), **LEARNING)
    base, end, start = first.seen[0].loss, first.seen[-1].loss, second.seen[0].loss
    assert end < base - 0.3  # or the rest says nothing
    assert abs(start - end) < (base - end) / 10
    assert child.trainable_parameters == parent.trainable_parameters
    assert files_under(Path(child.directory)) == {"adapter_config.json", "adapter_model.safetensors"}
    assert pack(Path(parent.directory)) == kept
    await run(trainer, ROWS, tmp_path / "grandchild", third, Path(child.directory), **LEARNING)
    assert abs(third.seen[0].loss - second.seen[-1].loss) < (base - end) / 10


async def test_a_parent_of_another_rank_or_base_is_refused_before_anything_is_trained(
    trainer: Trainer, tmp_path: Path
) -> None:
    parent = Path((await run(trainer, ROWS, tmp_path / "parent", Watcher())).directory)
    watcher = Watcher()
    with pytest.raises(InvalidValue, match="parent_run_id"):
        await run(trainer, ROWS, tmp_path / "child", watcher, parent, rank=8)
    config = parent / "adapter_config.json"
    config.write_text(config.read_text().replace(TINY, "another-base"))
    with pytest.raises(InvalidValue, match="parent_run_id"):
        await run(trainer, ROWS, tmp_path / "child", watcher, parent)
    assert watcher.seen == []
    assert files_under(tmp_path / "child") == set()


async def test_a_listener_that_fails_ends_the_run(trainer: Trainer, tmp_path: Path) -> None:
    class Deaf(Watcher):
        async def progress(self, progress: Progress) -> None:
            raise ConnectionError("the database went away")

    with pytest.raises(ConnectionError, match="went away"):
        await run(trainer, ROWS, tmp_path, Deaf())
    assert files_under(tmp_path) == set()
