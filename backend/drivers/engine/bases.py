"""The base models Byline knows by name: data, not code. Any other folder is named by a setting."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KnownBase:
    name: str
    title: str
    hub_id: str
    family: str
    parameters: int
    context_tokens: int
    licence: str


BUNDLED = "smollm2-135m-instruct"  # its weights come in a Python package, see bundled.py

KNOWN_BASES = (
    KnownBase(
        BUNDLED, "SmolLM2 135M Instruct", "HuggingFaceTB/SmolLM2-135M-Instruct",
        "llama", 134_515_008, 8_192, "Apache-2.0",
    ),
    KnownBase(
        "smollm2-360m-instruct", "SmolLM2 360M Instruct", "HuggingFaceTB/SmolLM2-360M-Instruct",
        "llama", 361_821_120, 8_192, "Apache-2.0",
    ),
    KnownBase(
        "llama-3.2-1b-instruct", "Llama 3.2 1B Instruct", "meta-llama/Llama-3.2-1B-Instruct",
        "llama", 1_235_814_400, 131_072, "Llama 3.2 Community Licence",
    ),
    KnownBase(
        "llama-3.1-8b-instruct", "Llama 3.1 8B Instruct", "meta-llama/Llama-3.1-8B-Instruct",
        "llama", 8_030_261_248, 131_072, "Llama 3.1 Community Licence",
    ),
    KnownBase(
        "mistral-7b-instruct-v0.3", "Mistral 7B Instruct v0.3", "mistralai/Mistral-7B-Instruct-v0.3",
        "mistral", 7_248_023_552, 32_768, "Apache-2.0",
    ),
    KnownBase(
        "deepseek-r1-distill-qwen-1.5b", "DeepSeek R1 Distill Qwen 1.5B", "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B",
        "deepseek", 1_777_088_000, 131_072, "MIT",
    ),
    KnownBase(
        "deepseek-llm-7b-chat", "DeepSeek LLM 7B Chat", "deepseek-ai/deepseek-llm-7b-chat",
        "deepseek", 6_910_365_696, 4_096, "DeepSeek Model Licence",
    ),
    KnownBase(
        "qwen2.5-0.5b-instruct", "Qwen2.5 0.5B Instruct", "Qwen/Qwen2.5-0.5B-Instruct",
        "qwen", 494_032_768, 32_768, "Apache-2.0",
    ),
    KnownBase(
        "qwen3-0.6b", "Qwen3 0.6B", "Qwen/Qwen3-0.6B",
        "qwen", 596_049_920, 40_960, "Apache-2.0",
    ),
    KnownBase(
        "gemma-3-270m-it", "Gemma 3 270M Instruct", "google/gemma-3-270m-it",
        "gemma", 268_098_176, 32_768, "Gemma Terms of Use",
    ),
    KnownBase(
        "gemma-3-1b-it", "Gemma 3 1B Instruct", "google/gemma-3-1b-it",
        "gemma", 999_885_952, 32_768, "Gemma Terms of Use",
    ),
)  # fmt: skip
