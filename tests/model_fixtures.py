"""Models for tests: a tiny random LLaMA that answers and trains in a moment, and the real SmolLM2."""

from pathlib import Path

import pytest

from backend.domain.answers import ModelRef
from backend.drivers.engine.bases import BUNDLED
from backend.drivers.engine.catalog import LocalCatalog

TINY = "tiny-llama"
# Kept between runs: unpacking takes half a minute. The same folder as `make up` uses by default.
MODELS_DIR = Path(__file__).parents[1] / ".byline" / "models"


@pytest.fixture(scope="session")
def smollm2_catalog() -> LocalCatalog:
    """The bundled model, unpacked."""
    catalog = LocalCatalog(MODELS_DIR, {})
    catalog.weights(BUNDLED)
    return catalog


@pytest.fixture(scope="session")
def tiny_catalog(smollm2_catalog: LocalCatalog, tmp_path_factory: pytest.TempPathFactory) -> LocalCatalog:
    """Holds `TINY`: two layers of random weights behind SmolLM2's own tokenizer and chat template, with a
    context of 512 tokens."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("models") / TINY
    tokenizer = AutoTokenizer.from_pretrained(smollm2_catalog.weights(BUNDLED))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return LocalCatalog(tmp_path_factory.mktemp("catalog"), {TINY: folder})


async def no_adapter(model: ModelRef) -> Path:
    raise AssertionError(f"{model} has no adapter to fetch")
