"""LoRA training, one optimizer step at a time. Runs in the trainer's own process (train_process.py)."""

import functools
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from backend.domain.errors import TrainingFailed
from backend.domain.training import Progress, TrainingSpec
from backend.drivers.engine.encoding import Example

MICRO_BATCH_TOKENS = 2_048  # a batch with more is split and its gradients added up: the same step in less memory
MAX_GRADIENT_NORM = 1.0
WARM_UP = 0.06  # of all steps
WINDOW = 50  # batches sorted by length together
PATIENCE = 5  # steps that look lost before the run is called off


@dataclass(frozen=True, slots=True)
class Outcome:
    steps: int
    loss_first: float  # mean over the first fifth of the steps
    loss_last: float  # mean over the last fifth
    tokens_per_second: float
    seconds: float
    trainable_parameters: int


def planned_steps(spec: TrainingSpec, examples: int) -> int:
    """Of all epochs, or `max_steps` when that is fewer."""
    steps = math.ceil(examples / spec.batch_size) * spec.epochs
    return min(steps, spec.max_steps) if spec.max_steps else steps


def train(
    model: Any,
    spec: TrainingSpec,
    examples: Sequence[Example],
    *,
    on_step: Callable[[Progress], None],
    should_stop: Callable[[], bool],
) -> Outcome | None:
    """AdamW with a warm-up and a cosine to zero, gradients clipped. The loss of a step is the mean over
    its batch's learnt tokens, nats. The same examples and seed give the same weights on one machine.

    None when stopped. Raises: TrainingFailed when the numbers say that nothing is being learnt.
    """
    import torch

    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=spec.learning_rate, weight_decay=0.0)
    total = planned_steps(spec, len(examples))
    watch = _Watch(int(model.config.get_text_config().vocab_size), total)
    model.train()
    began = time.monotonic()
    tokens, losses = 0, list[float]()
    for step, (epoch, batch) in enumerate(_batches(examples, spec), start=1):
        if should_stop():
            return None
        rate = spec.learning_rate * _schedule(step, total)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = _accumulate(model, batch)
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT_NORM))
        watch.check(step, loss, norm)  # before the weights move
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss)
        tokens += sum(len(example.token_ids) for example in batch)
        seconds = time.monotonic() - began
        on_step(
            Progress(
                step=step,
                total_steps=total,
                epoch=epoch,
                loss=loss,
                learning_rate=rate,
                gradient_norm=norm,
                tokens_per_second=tokens / seconds,
                seconds_left=seconds / step * (total - step),
                seconds=seconds,
            )
        )
        if step == total:
            break
    seconds = time.monotonic() - began
    fifth = max(1, len(losses) // 5)  # one batch says little: its rows may be easy or hard
    first, last = fmean(losses[:fifth]), fmean(losses[-fifth:])
    return Outcome(total, first, last, tokens / seconds, seconds, sum(p.numel() for p in parameters))


@functools.cache
def bf16_helps() -> bool:
    """Without the instructions for it, bfloat16 is emulated and slower than float32."""
    import torch

    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    try:
        with open("/proc/cpuinfo") as info:
            flags = next((line for line in info if line.startswith("flags")), "")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _accumulate(model: Any, batch: Sequence[Example]) -> float:
    """Gradients of the batch's mean loss; its value."""
    import torch

    learnt = sum(sum(example.labels[1:]) for example in batch)
    device = model.device
    loss = 0.0
    for part in _micro_batches(batch):
        length = max(len(example.token_ids) for example in part)
        ids = torch.zeros((len(part), length), dtype=torch.long)
        mask = torch.zeros((len(part), length), dtype=torch.long)
        labels = torch.zeros((len(part), length), dtype=torch.bool)
        for row, example in enumerate(part):
            size = len(example.token_ids)
            ids[row, :size] = torch.tensor(example.token_ids)
            mask[row, :size] = 1
            labels[row, 1:size] = torch.tensor(example.labels[1:])
        # The vocabulary is most of the work of a small model: logits only where some row learns.
        columns = labels.any(0).nonzero().squeeze(1)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16_helps()):
            logits = model(
                input_ids=ids.to(device),
                attention_mask=mask.to(device),
                use_cache=False,
                logits_to_keep=(columns - 1).to(device),
            ).logits
        chosen = labels[:, columns]
        part_loss = torch.nn.functional.cross_entropy(
            logits[chosen.to(device)].float(), ids[:, columns][chosen].to(device), reduction="sum"
        )
        (part_loss / learnt).backward()  # type: ignore[no-untyped-call]
        loss += float(part_loss.detach()) / learnt
    return loss


def _batches(examples: Sequence[Example], spec: TrainingSpec) -> Iterator[tuple[float, list[Example]]]:
    """(epochs begun by the end of the batch, batch), for all epochs. Rows of like length together: in each
    epoch's shuffle, windows of rows are sorted by length, cut into batches and the batches shuffled."""
    shuffle = random.Random(spec.seed)  # noqa: S311 - an order, not a secret
    for epoch in range(spec.epochs):
        order = list(examples)
        shuffle.shuffle(order)
        batches = []
        for start in range(0, len(order), WINDOW * spec.batch_size):
            window = sorted(order[start : start + WINDOW * spec.batch_size], key=lambda e: len(e.token_ids))
            batches += [window[i : i + spec.batch_size] for i in range(0, len(window), spec.batch_size)]
        shuffle.shuffle(batches)
        for done, batch in enumerate(batches, start=1):
            yield epoch + done / len(batches), batch


def _micro_batches(batch: Sequence[Example]) -> Iterator[list[Example]]:
    part: list[Example] = []
    for example in sorted(batch, key=lambda e: -len(e.token_ids)):
        if part and (len(part) + 1) * len(part[0].token_ids) > MICRO_BATCH_TOKENS:
            yield part
            part = []
        part.append(example)
    yield part


def _schedule(step: int, total: int) -> float:
    """Factor on the learning rate, > 0 for steps 1..total."""
    warm = max(1, round(WARM_UP * total))
    if step <= warm:
        return step / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / (total - warm + 1)))


class _Watch:
    """Tells a run that learns slowly from one that is lost."""

    def __init__(self, vocabulary: int, total: int) -> None:
        self._guessing = 0.95 * math.log(vocabulary)  # the loss of naming tokens at random, nearly
        self._patience = min(PATIENCE, total)
        self._first: float | None = None
        self._still = 0
        self._lost = 0

    def check(self, step: int, loss: float, gradient_norm: float) -> None:
        if not (math.isfinite(loss) and math.isfinite(gradient_norm)):
            raise TrainingFailed(
                f"at step {step} the loss became {loss} and the gradient {gradient_norm}: the training diverged; "
                "lower the learning rate"
            )
        first = self._first = loss if self._first is None else self._first
        # One exact zero can happen; several in a row mean that no gradient reaches the adapter.
        self._still = self._still + 1 if gradient_norm == 0.0 else 0
        if self._still >= self._patience:
            raise TrainingFailed(
                f"the gradient was exactly zero for {self._still} steps up to step {step}: nothing is being learnt; "
                "lower the learning rate, or choose the method lora if this was qlora"
            )
        self._lost = self._lost + 1 if loss > self._guessing and loss > first + 1 else 0
        if self._lost >= self._patience:
            raise TrainingFailed(
                f"the loss went from {first:.2f} to {loss:.2f} by step {step}, no better than guessing: the training "
                "diverged; lower the learning rate"
            )
