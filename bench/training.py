"""The demo's training run, LoRA of SmolLM2 on PubMedQA rows: Byline's trainer beside a plain `transformers.Trainer`.

    python -m bench.training [--steps 24] [--json]

Both train every linear layer with the demo's rows, rank, batch size, learning rate and length, and the same precision
(bfloat16 autocast where the CPU has it). The peer uses sdpa attention, logits for every position and batches in random
order, as it does unless told otherwise: the two see different first batches, so their losses are no
comparison. Each runs in a process of its own; tokens are real ones, without
padding, and the time is that of the steps, without loading.
"""

import asyncio
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from backend.demo.command import SAMPLE
from backend.demo.story import BATCH, SAMPLE_ROWS, STEPS, read_rows, training_spec
from backend.domain.training import Method, Progress, TrainingSpec
from backend.domain.types import NO_WALLET, DatanetId
from backend.drivers.engine.bases import BUNDLED
from backend.drivers.engine.catalog import LocalCatalog
from backend.drivers.engine.environment import engine_environment
from backend.drivers.engine.lora import ROOT, SubprocessTrainer
from bench._report import Table, parser, report

MODELS = ROOT / ".byline" / "models"


def rows() -> list[dict[str, Any]]:
    read = read_rows(SAMPLE, [NO_WALLET])[:SAMPLE_ROWS]
    return [{name: row[name] for name in ("instruction", "input", "output")} for row in read]


def spec(steps: int) -> TrainingSpec:
    given = training_spec(1, SAMPLE_ROWS)
    given["datanets"] = tuple(DatanetId(datanet) for datanet in given.pop("datanet_ids"))
    return TrainingSpec(**{**given, "method": Method(given["method"]), "max_steps": steps})


async def ours(steps: int) -> dict[str, Any]:
    seen: list[Progress] = []

    async def note(progress: Progress) -> None:
        seen.append(progress)

    async def never() -> bool:
        return False

    began, cpu_before = time.monotonic(), children_cpu_seconds()
    with tempfile.TemporaryDirectory() as directory:
        adapter = await SubprocessTrainer(LocalCatalog(MODELS, {})).train(
            spec(steps), rows(), Path(directory), on_progress=note, should_stop=never
        )
    assert adapter is not None
    ends = [0.0, *(progress.seconds for progress in seen)]
    return {
        "tokens_per_second": adapter.tokens_per_second,
        "seconds_per_step": statistics.median(after - before for before, after in itertools.pairwise(ends)),
        "seconds_in_all": time.monotonic() - began,
        "cpu_seconds_in_all": children_cpu_seconds() - cpu_before,
        # Single steps, as the peer reports them: TrainedAdapter's are means over several.
        "loss_first_step": seen[0].loss,
        "loss_last_step": seen[-1].loss,
    }


def peers(steps: int) -> dict[str, Any]:
    """In a child, so that neither run warms up anything for the other."""
    began, cpu_before = time.monotonic(), children_cpu_seconds()
    done = subprocess.run(
        [sys.executable, "-m", "bench.training", "--peer", "--steps", str(steps)],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **engine_environment()},
    )
    return {
        **json.loads(done.stdout.splitlines()[-1]),
        "seconds_in_all": time.monotonic() - began,
        "cpu_seconds_in_all": children_cpu_seconds() - cpu_before,
    }


def children_cpu_seconds() -> float:
    """Of children that have ended: what other work on the machine hardly changes, unlike wall time."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_peer(steps: int) -> dict[str, Any]:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        DataCollatorForSeq2Seq,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    from backend.drivers.engine.encoding import Encoding
    from backend.drivers.engine.training_loop import bf16_helps

    settings = spec(steps)
    weights = LocalCatalog(MODELS, {}).weights(BUNDLED)
    encoding = Encoding(weights)
    examples = [encoding.example(row, settings.max_length_tokens) for row in rows()]
    data: Any = [
        {
            "input_ids": list(example.token_ids),
            "labels": [
                token if learn else -100 for token, learn in zip(example.token_ids, example.labels, strict=True)
            ],
        }
        for example in examples
        if example is not None
    ]
    tokens: list[int] = []
    ends: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.monotonic())

    collate = DataCollatorForSeq2Seq(AutoTokenizer.from_pretrained(weights))

    def count(batch: list[dict[str, Any]]) -> Any:
        tokens.append(sum(len(row["input_ids"]) for row in batch))
        return collate(batch)

    torch.manual_seed(settings.seed)
    model: Any = AutoModelForCausalLM.from_pretrained(weights, dtype=torch.float32, attn_implementation="sdpa")
    lora = LoraConfig(r=settings.rank, lora_alpha=2 * settings.rank, target_modules="all-linear", task_type="CAUSAL_LM")
    with tempfile.TemporaryDirectory() as directory:
        trainer = Trainer(
            model=get_peft_model(model, lora),
            args=TrainingArguments(
                output_dir=directory,
                per_device_train_batch_size=settings.batch_size,
                max_steps=steps,
                learning_rate=settings.learning_rate,
                lr_scheduler_type="cosine",
                bf16=bf16_helps(),
                logging_steps=1,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                seed=settings.seed,
            ),
            train_dataset=data,
            data_collator=count,
            callbacks=[Clock()],
        )
        began = time.monotonic()
        trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    times = [began, *ends]
    return {
        # The loader may have fetched batches beyond the last step.
        "tokens_per_second": sum(tokens[: len(ends)]) / (ends[-1] - began),
        "seconds_per_step": statistics.median(after - before for before, after in itertools.pairwise(times)),
        "loss_first_step": losses[0],
        "loss_last_step": losses[-1],
    }


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--steps", type=int, default=STEPS, help=f"optimizer steps ({STEPS})")
    made.add_argument("--peer", action="store_true", help="run the peer alone and print its figures")
    chosen = made.parse_args()
    if chosen.peer:
        print(json.dumps(run_peer(chosen.steps)))
        return
    LocalCatalog(MODELS, {}).weights(BUNDLED)
    busy_before = os.getloadavg()[0]
    byline = asyncio.run(ours(chosen.steps))
    peer = peers(chosen.steps)
    names = [
        "tokens_per_second",
        "seconds_per_step",
        "seconds_in_all",
        "cpu_seconds_in_all",
        "loss_first_step",
        "loss_last_step",
    ]
    table = Table(
        f"The demo's run: LoRA on {BUNDLED}, {chosen.steps} steps of {BATCH} PubMedQA rows",
        ["", "Byline", "transformers.Trainer"],
        [[name.replace("_", " "), byline[name], peer[name]] for name in names],
    )
    figures = {
        "steps": chosen.steps,
        "spec": {**asdict(spec(chosen.steps)), "method": "lora"},
        "byline": byline,
        "transformers_trainer": peer,
        "speedup": byline["tokens_per_second"] / peer["tokens_per_second"],
        "cpu_speedup": peer["cpu_seconds_in_all"] / byline["cpu_seconds_in_all"],
        "load_average_before": busy_before,  # other work on the machine slows both
    }
    report("training", [table], figures, as_json=chosen.json, keep=chosen.steps >= STEPS)


if __name__ == "__main__":
    main()
