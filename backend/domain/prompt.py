"""How a question and its sources become a prompt. The template's digest is part of every receipt."""

import hashlib
import json
from collections.abc import Mapping

from backend.domain.types import Digest, digest_of

# The question, then the sources: the form in which a row's instruction and input are trained on, so that a tuned
# model is asked as it was taught. Every added request that was tried (to cite, to be brief) made a model of 135
# million parameters answer the request instead of the question. One user message and no system message: some
# model families have no such role. The best source stands last, next to the answer: with it first, the model wrote
# of another one four times in five. A change of any word, of the order or of the decoding, is a new version.
REPETITION_PENALTY = 1.1  # greedy and without it, the small model recites the question
PROMPT_TEMPLATE = {
    "version": "byline.prompt/3",
    "source": "[{number}] {text}",
    "with_sources": "{question}\n\n{sources}",
    "order": "source 1, the best, last",
    "without_sources": "{question}",
    "decoding": f"greedy, repetition penalty {REPETITION_PENALTY}",
}


def prompt_digest() -> Digest:
    """SHA-256 of the template as canonical JSON."""
    text = json.dumps(PROMPT_TEMPLATE, sort_keys=True, separators=(",", ":"))
    return digest_of(hashlib.sha256(text.encode()).digest())


def build_messages(question: str, passages: Mapping[int, str]) -> list[dict[str, str]]:
    """One user message. `passages` is number → text; leaving some out leaves the others' numbers as they
    are, so that what an ablation changes is the missing text alone."""
    # Not str.format on what people wrote: their braces are text. `replace` once each, question last.
    if not passages:
        content = PROMPT_TEMPLATE["without_sources"].replace("{question}", question)
        return [{"role": "user", "content": content}]
    head, _, tail = PROMPT_TEMPLATE["with_sources"].partition("{sources}")
    sources = "\n\n".join(
        PROMPT_TEMPLATE["source"].replace("{number}", str(number)).replace("{text}", " ".join(passages[number].split()))
        for number in sorted(passages, reverse=True)
    )
    return [{"role": "user", "content": head.replace("{question}", question) + sources + tail}]
