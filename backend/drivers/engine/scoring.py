"""ln P(answer | prompt) for many prompts and one answer: the arithmetic of attribution."""

from collections.abc import Iterator, Sequence
from typing import Any


def answer_log_probs(
    model: Any, prompts: Sequence[Sequence[int]], answer: Sequence[int], *, batch_tokens: int
) -> list[float]:
    """Score the same answer after each prompt.

    Prompts of like length share a forward of at most `batch_tokens` padded tokens (one row at least).
    Pads lie to the right and are masked by position, never by token id: the pad token often is the end
    token, which is part of texts. Logits are computed where the answer is and nowhere else; the softmax is
    float32. In float32 the result does not depend on the batches beyond ~1e-5 nats.

    Args:
        model: a causal language model in eval mode.
        prompts: [n_prompts] token ids, each at least one.
        answer: [n_answer] token ids.
    Returns: [n_prompts] nats, summed over the answer's tokens, <= 0.
    """
    import torch

    out = [0.0] * len(prompts)
    if not answer:
        return out
    target = torch.tensor(answer, device=model.device)
    with torch.inference_mode():
        for rows in _batches([len(p) for p in prompts], len(answer), batch_tokens):
            length = max(len(prompts[row]) for row in rows) + len(answer)
            first = min(len(prompts[row]) for row in rows) - 1  # the position that predicts the first answer token
            ids = torch.zeros((len(rows), length), dtype=torch.long)
            mask = torch.zeros((len(rows), length), dtype=torch.long)
            for place, row in enumerate(rows):
                sequence = [*prompts[row], *answer]
                ids[place, : len(sequence)] = torch.tensor(sequence)
                mask[place, : len(sequence)] = 1
            logits = model(
                input_ids=ids.to(model.device),
                attention_mask=mask.to(model.device),
                use_cache=False,
                logits_to_keep=torch.arange(first, length - 1, device=model.device),
            ).logits
            for place, row in enumerate(rows):
                start = len(prompts[row]) - 1 - first
                nats = torch.log_softmax(logits[place, start : start + len(answer)].float(), dim=-1)
                picked = nats.gather(1, target[:, None])
                out[row] = min(0.0, float(picked.double().sum()))
    return out


def _batches(lengths: Sequence[int], answer_length: int, batch_tokens: int) -> Iterator[list[int]]:
    """Row numbers, longest first, so that what does not fit in memory fails at once."""
    batch: list[int] = []
    widest = 0
    for row in sorted(range(len(lengths)), key=lambda r: (-lengths[r], r)):
        size = lengths[row] + answer_length
        wasteful = size * 10 < widest * 9  # more than a tenth of it would be padding
        if batch and (wasteful or (len(batch) + 1) * widest > batch_tokens):
            yield batch
            batch = []
        if not batch:
            widest = size
        batch.append(row)
    if batch:
        yield batch
