"""Loading a base model and putting LoRA on it, for training: the parts that know peft and bitsandbytes."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.domain.errors import InvalidValue
from backend.domain.training import TrainingSpec

if TYPE_CHECKING:
    import torch

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


def why_not_qlora() -> str | None:
    """None when 4-bit layers really work here, forward and backward; else what is in the way."""
    try:
        import torch
        from bitsandbytes.nn.modules import Linear4bit

        layer: Any = Linear4bit(  # type: ignore[no-untyped-call]
            64, 64, bias=False, compute_dtype=torch.float32, quant_type="nf4"
        )
        layer = layer.to("cuda" if torch.cuda.is_available() else "cpu")
        keep_backward_working(layer)
        x = torch.ones(2, 64, requires_grad=True, device=layer.weight.device)
        layer(x).sum().backward()
    except ImportError as err:
        return f"QLoRA needs the bitsandbytes package ({err})"
    except Exception as err:  # noqa: BLE001 - a native library fails in its own ways; each means "not here"
        return f"4-bit layers do not work on this machine ({err})"
    return None if x.grad is not None else "4-bit layers pass no gradient back on this machine"


def keep_backward_working(model: "torch.nn.Module") -> None:
    """On CPUs with AVX512-BF16, bitsandbytes repacks 4-bit weights at the first forward in eval mode,
    and the kernel for packed weights has no backward: training goes on and learns nothing. Call right
    after loading, before any forward."""
    from bitsandbytes.nn.modules import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def check_parent(parent: Path, spec: TrainingSpec) -> None:
    """Raises: InvalidValue naming `parent_run_id` unless the adapter is one of this base model and this rank."""
    config = json.loads((parent / "adapter_config.json").read_text())
    base, rank = config["base_model_name_or_path"], config["r"]
    if (base, rank) != (spec.base_model, spec.rank):
        raise InvalidValue(
            "parent_run_id",
            f"its adapter is of rank {rank} for {base}, and this run is of rank {spec.rank} for {spec.base_model}; "
            "choose the same, or another parent",
        )


def load_for_training(weights: Path, *, quantised: bool, attention: str, rank: int, parent: Path | None = None) -> Any:
    """The base model with LoRA matrices on every linear layer but the head; only those are trainable. They are the
    parent's, or fresh ones (alpha = 2 × rank). B is zero in those, so before the first step it answers as the base."""
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    options: dict[str, Any] = {}
    if quantised:
        options["quantization_config"] = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    model: Any = AutoModelForCausalLM.from_pretrained(
        weights,
        dtype=torch.bfloat16 if quantised or _is_large(weights) else torch.float32,
        attn_implementation=attention,
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        **options,
    )
    if quantised:
        keep_backward_working(model)
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)  # type: ignore[no-untyped-call]
    if torch.cuda.is_available():
        model.to("cuda")
    model.config.use_cache = False
    if parent is not None:
        return PeftModel.from_pretrained(model, parent, is_trainable=True)
    lora = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(model, lora)


def save_adapter(model: Any, base_model: str, directory: Path) -> None:
    """Exactly `ADAPTER_FILES`, byte for byte the same for the same weights: peft keeps sets in the
    configuration, and the path of this machine's copy of the base."""
    partial = directory.with_name(f".{directory.name}.partial")
    for left in (partial, directory):
        if left.exists():
            shutil.rmtree(left)
    model.peft_config["default"].base_model_name_or_path = base_model
    model.save_pretrained(partial, safe_serialization=True, save_embedding_layers=False)
    for path in partial.iterdir():
        if path.name not in ADAPTER_FILES:
            path.unlink()
    config_file = partial / "adapter_config.json"
    config = json.loads(config_file.read_text())
    for key, value in config.items():
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            config[key] = sorted(value)
    config_file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    partial.rename(directory)


def _is_large(weights: Path) -> bool:
    """Over ~4 GB of weights, float32 would not fit where bfloat16 does."""
    return sum(file.stat().st_size for file in weights.glob("*.safetensors")) > 4_000_000_000
