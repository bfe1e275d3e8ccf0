"""A training interrupted at random steps, by SIGTERM and by SIGKILL, and resumed each time, against one left alone.

    python -m tests.training.interrupted [--times 10] [--steps 60]

One process, float32. Exit code 0 if every weight and the loss of every step are the same to the last bit. The interpreter is
forked for each run, so that torch is imported once; nothing has been computed before.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
import trl
from safetensors.torch import load_file

from magpie_align.errors import AGAIN, AgainError
from magpie_align.flow.table import write_rows
from magpie_align.training import sft
from magpie_align.training.processes import train_spread
from magpie_align.training.settings import SFTSettings
from tests.training.conftest import chats, make_model

BATCH = 4


def run(folder: Path, model: Path, data: Path, steps: int, progress: Callable[..., None]) -> int:
    """Train in a process of its own, as the worker of a stage does; its exit code, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            settings = SFTSettings(
                learning_rate=1e-3, batch_size=BATCH, micro_batch_size=2, epochs=1.5, max_length=192, precision="float32",
                checkpoints=steps // 5, trl={"train_sampling_strategy": "group_by_length"},
            )  # fmt: skip
            train_spread(
                sft.train, model=model, rows=data, out=folder / "out", work=folder / "work", settings=settings,
                template=None, seed=0, progress=progress,
            )  # fmt: skip
            code = 0
        except AgainError as interrupted:
            print(f"  {interrupted}", flush=True)
            code = AGAIN
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def striking(step: int, number: signal.Signals, delay: float) -> Callable[..., None]:
    """A progress that sends this process a signal, so long after the step, or after its first one where that is later."""
    sent = False

    def progress(done: int, total: int, **_: Any) -> None:
        nonlocal sent
        if done >= step and not sent:
            sent = True
            threading.Timer(delay, os.kill, (os.getpid(), number)).start()

    return progress


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "out/training.jsonl").read_text().splitlines()]


def torment(folder: Path, model: Path, data: Path, steps: int, times: int, rng: random.Random) -> list[str]:
    """Interrupt it so often, each time further on, then let it end; how each run ended."""
    endings = []
    struck = sorted(rng.sample(range(1, steps - 4), times))
    kinds = [signal.SIGTERM, signal.SIGKILL] * times
    for number, (step, kind) in enumerate(zip(struck, kinds, strict=False)):
        code = run(folder, model, data, steps, striking(step, kind, rng.uniform(0, 0.05)))
        assert code in (AGAIN if kind == signal.SIGTERM else -signal.SIGKILL, 0), code
        endings.append(f"{kind.name} at step {step}" if code else "ended before it was struck")
        print(f"{number + 1}: {endings[-1]}", flush=True)
    assert run(folder, model, data, steps, lambda *_, **__: None) == 0
    return endings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    assert trl.SFTTrainer and torch.get_num_threads()  # imported before any fork
    with tempfile.TemporaryDirectory() as scratch:
        whole, cut = Path(scratch, "whole"), Path(scratch, "cut")
        model, data = make_model(Path(scratch, "model")), Path(scratch, "rows")
        count = int(args.steps / 1.5) * BATCH
        write_rows(data, pa.Table.from_pylist(chats(count)))
        assert run(whole, model, data, args.steps, lambda *_, **__: None) == 0
        endings = torment(cut, model, data, args.steps, args.times, random.Random(args.seed))
        before, after = (load_file(f / "out/model.safetensors") for f in (whole, cut))
        weights = all(torch.equal(before[name], after[name]) for name in before) and before.keys() == after.keys()
        losses = [[(line["step"], line["loss"], line["grad_norm"]) for line in lines(f)] for f in (whole, cut)]
        struck = [ending for ending in endings if "before" not in ending]
    figures = {
        "interrupted": len(struck),
        "steps": len(losses[0]),
        "losses_equal": losses[0] == losses[1],
        "weights_equal": weights,
    }
    print(json.dumps(figures))
    return int(not (weights and losses[0] == losses[1] and len(struck) == args.times))


if __name__ == "__main__":
    sys.exit(main())
