"""The arithmetic of a run: what it repeats, and when it gives up. Torch, but models of a few thousand weights."""

import math
from dataclasses import replace
from typing import Any

import pytest

from backend.domain.errors import TrainingFailed
from backend.domain.training import Progress
from backend.drivers.engine.encoding import Example
from backend.drivers.engine.training_loop import planned_steps, train
from tests.contract.test_trainer import SPEC

EXAMPLES = [
    Example(tuple((7 * row + 3 * place) % 50 for place in range(4 + row)), (False, False) + (True,) * (2 + row))
    for row in range(9)
]


def tiny(seed: int = 0) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=50,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=64,
        )
    )


def losses(model: Any, examples: list[Example] = EXAMPLES, **changes: Any) -> list[Progress]:
    seen: list[Progress] = []
    train(model, spec(**changes), examples, on_step=seen.append, should_stop=lambda: False)
    return seen


def spec(**changes: Any) -> Any:
    return replace(SPEC, **{"max_steps": 0, "batch_size": 4, "epochs": 6, "learning_rate": 5e-3, **changes})


def test_the_loss_is_the_mean_over_the_learnt_tokens_of_the_batch() -> None:
    import torch

    model = tiny()
    nats, tokens = 0.0, 0
    with torch.no_grad():
        for example in EXAMPLES:  # one by one, every logit computed, no padding
            logits = model(torch.tensor([example.token_ids])).logits[0].log_softmax(-1)
            for place in range(1, len(example.token_ids)):
                if example.labels[place]:
                    nats -= float(logits[place - 1, example.token_ids[place]])
                    tokens += 1
    [only] = losses(tiny(), batch_size=16, epochs=1)
    assert only.loss == pytest.approx(nats / tokens, rel=0.01)  # the loop may use bfloat16


def test_a_run_learns_and_repeats_itself() -> None:
    once, again = losses(tiny()), losses(tiny())
    assert [p.loss for p in once] == [p.loss for p in again]
    assert once[-1].loss < once[0].loss - 0.3
    assert [p.loss for p in losses(tiny(), seed=8)] != [p.loss for p in once]


def test_a_batch_too_large_for_one_forward_is_the_same_step(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = losses(tiny())
    monkeypatch.setattr("backend.drivers.engine.training_loop.MICRO_BATCH_TOKENS", 12)
    parts = losses(tiny())
    assert [p.loss for p in parts] == pytest.approx([p.loss for p in whole], rel=0.02)


def test_the_learning_rate_warms_up_and_falls_towards_zero() -> None:
    rates = [p.learning_rate for p in losses(tiny(), epochs=20, learning_rate=1e-3)]
    peak = rates.index(max(rates))
    assert rates[peak] == 1e-3
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert 0 < rates[-1] < 1e-5 < rates[0]


def test_max_steps_ends_a_run_before_its_epochs_do() -> None:
    assert planned_steps(spec(epochs=3), 9) == 9
    assert planned_steps(spec(epochs=3, max_steps=5), 9) == 5
    assert planned_steps(spec(epochs=1, max_steps=5), 9) == 3
    assert len(losses(tiny(), max_steps=5)) == 5


def test_a_run_is_stopped_between_steps() -> None:
    seen: list[Progress] = []
    outcome = train(tiny(), spec(), EXAMPLES, on_step=seen.append, should_stop=lambda: len(seen) == 3)
    assert outcome is None
    assert len(seen) == 3


def test_a_loss_that_is_no_number_ends_the_run() -> None:
    import torch

    model = tiny()
    with torch.no_grad():
        model.lm_head.weight[3] = math.nan
    with pytest.raises(TrainingFailed, match="diverged; lower the learning rate"):
        losses(model)


def test_a_gradient_that_never_arrives_ends_the_run() -> None:
    model = tiny()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    import torch

    model.register_parameter("idle", torch.nn.Parameter(torch.zeros(1)))
    forward = model.forward

    def detached(**inputs: Any) -> Any:
        out = forward(**inputs)
        out.logits = out.logits + 0 * model.idle
        return out

    model.forward = detached
    with pytest.raises(TrainingFailed, match="nothing is being learnt"):
        losses(model)


def test_a_loss_stuck_at_guessing_ends_the_run() -> None:
    import torch

    model = tiny()
    losses(model, epochs=20, learning_rate=1e-2)

    def ruin(progress: Progress) -> None:
        if progress.step == 2:
            with torch.no_grad():
                model.lm_head.weight.zero_()  # every token is as likely as any other

    with pytest.raises(TrainingFailed, match="no better than guessing"):
        train(model, spec(learning_rate=1e-6), EXAMPLES, on_step=ruin, should_stop=lambda: False)
