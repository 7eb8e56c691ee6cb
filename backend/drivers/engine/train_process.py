"""The trainer's own process: `python -m backend.drivers.engine.train_process PARENT_PID`.

Reads JSON lines from stdin: first the job, then one row a line. Writes JSON lines to stdout, each with
an "event": "progress" …, and last "done", "stopped", "invalid" or "failed". SIGTERM asks it to stop after
the step at hand. It never outlives its parent, and rows are never on disk.
"""

import contextlib
import ctypes
import dataclasses
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from backend.domain.errors import InvalidValue, TrainingFailed
from backend.domain.training import Method, Progress, TrainingSpec

PR_SET_PDEATHSIG = 1
EAGER_UP_TO_TOKENS = 256  # on a CPU: below, plain attention is a fifth faster; above, its memory grows squared


def job_line(
    spec: TrainingSpec, weights: Path, directory: Path, threads: int | None, parent: Path | None
) -> dict[str, Any]:
    return {
        "spec": {**dataclasses.asdict(spec), "method": spec.method.value},
        "weights": str(weights),
        "directory": str(directory),
        "threads": threads,
        "parent": None if parent is None else str(parent),
    }


def main(parent: int) -> None:
    _die_with(parent)
    stopped = _Stop()
    signal.signal(signal.SIGTERM, stopped.ask)
    events = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # libraries print; the events' line is ours alone

    def tell(event: str, **fields: Any) -> None:
        print(json.dumps({"event": event, **fields}), file=events, flush=True)

    try:
        _run(sys.stdin, tell, stopped)
    except InvalidValue as err:
        tell("invalid", field=err.field, problem=err.problem)
    except TrainingFailed as err:
        tell("failed", message=str(err))
    except Exception as err:
        if not _is_out_of_memory(err):
            raise
        tell("failed", message=OUT_OF_MEMORY)


OUT_OF_MEMORY = "there was not enough memory; lower the batch size, the row length (max_length_tokens) or the rank"


def _run(lines: TextIO, tell: Callable[..., None], stopped: "_Stop") -> None:
    job = json.loads(lines.readline())
    spec = TrainingSpec(
        **{**job["spec"], "datanets": tuple(job["spec"]["datanets"]), "method": Method(job["spec"]["method"])}
    )
    weights, directory = Path(job["weights"]), Path(job["directory"])

    import torch

    from backend.drivers.engine.adapters import load_for_training, save_adapter
    from backend.drivers.engine.encoding import Encoding, Example
    from backend.drivers.engine.training_loop import train

    torch.set_num_threads(job["threads"] or os.cpu_count() or 1)
    torch.manual_seed(spec.seed)
    encoding = Encoding(weights)
    examples: list[Example] = []
    rows = dropped = 0
    for line in lines:
        rows += 1
        try:
            example = encoding.example(json.loads(line), spec.max_length_tokens)
        except (KeyError, TypeError, ValueError) as err:
            raise InvalidValue("rows", f"record {rows} cannot be trained on: {type(err).__name__}: {err}") from err
        if example is None:
            dropped += 1
        else:
            examples.append(example)
    if not examples:
        raise InvalidValue(
            "rows",
            f"of {rows} rows none has anything to learn within {spec.max_length_tokens} tokens; "
            "raise max_length_tokens or give other rows",
        )
    longest = max(len(example.token_ids) for example in examples)
    cut = sum(len(example.token_ids) == spec.max_length_tokens for example in examples)
    tell("rows", rows=rows, dropped=dropped, cut=cut)
    model = load_for_training(
        weights,
        quantised=spec.method is Method.QLORA,
        attention="eager" if longest <= EAGER_UP_TO_TOKENS else "sdpa",
        rank=spec.rank,
        parent=None if job["parent"] is None else Path(job["parent"]),
    )

    def on_step(progress: Progress) -> None:
        tell("progress", **dataclasses.asdict(progress))

    outcome = train(model, spec, examples, on_step=on_step, should_stop=lambda: stopped.asked)
    if outcome is None:
        tell("stopped")
        return
    save_adapter(model, spec.base_model, directory / "adapter")
    tell("done", directory=str(directory / "adapter"), **dataclasses.asdict(outcome))


class _Stop:
    asked = False

    def ask(self, signum: int, frame: FrameType | None) -> None:
        self.asked = True


def _die_with(parent: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        sys.exit(1)
    with contextlib.suppress(OSError):
        # If memory runs out, let the kernel take this process and not the database beside it.
        Path("/proc/self/oom_score_adj").write_text("900")


def _is_out_of_memory(err: Exception) -> bool:
    import torch

    return isinstance(err, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(err)


if __name__ == "__main__":
    main(int(sys.argv[1]))
