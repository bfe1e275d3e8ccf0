"""What a training looked like, step by step: `training.jsonl` beside the model, for curves; its last figures for the manifest.

A line holds what TRL logs (loss, grad_norm, learning_rate; rewards/margins and rewards/accuracies of pairs; …) and

tokens              of the step, over all processes, padding left out
filled              the share of computed positions that hold a token
seconds             of the step, without writing checkpoints and evaluating
tokens_per_second   of one process, that is, one GPU
mfu                 see `magpie_align.training.mfu`; null where the device's peak is not known
memory_gb           the most that a process ever held: on its GPU, or in the machine's memory where it has none
eval_loss, eval_…   of the held-out samples, where they were looked at behind this step
"""

import json
import os
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from magpie_align.training.distributed import is_first
from magpie_align.training.mfu import Cost, peak
from magpie_align.training.order import evaluating, filled

NAME = "training.jsonl"
RECENT = 10
"""Steps over which the loss in the manifest is a mean."""


class Series:
    """Counts what a trainer is given and writes a line whenever it logs. A resumed run goes on where its checkpoint stood."""

    def __init__(self, trainer: Any, file: Path, progress: Callable[..., None]) -> None:
        self._trainer, self._file, self._progress = trainer, file, progress
        self._cost = Cost(trainer.model)
        self._peak = peak(_device(), _precision(trainer))
        self._counts = [0.0, 0.0, 0.0]
        collect = trainer.get_batch_samples

        def counted(*args: Any) -> Any:
            batches, number = collect(*args)
            if not evaluating(trainer):
                for counts in map(count, batches[:-1] if filled(trainer) else batches):
                    self._counts = [a + b for a, b in zip(self._counts, counts, strict=True)]
            return batches, number

        trainer.get_batch_samples = counted
        trainer.series = self

    def callback(self) -> Any:
        from transformers import PrinterCallback, TrainerCallback

        series = self
        self._trainer.remove_callback(PrinterCallback)

        class Write(TrainerCallback):  # type: ignore[misc]
            def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                series._continue(state.global_step)

            def on_save(self, *_: Any, **__: Any) -> None:
                series._since = time.monotonic()

            on_evaluate = on_save

            def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
                if logs and "loss" in logs:
                    series._add(state, logs)
                elif logs and "eval_loss" in logs and is_first():
                    series._add_held_out(state.global_step, logs)

        return Write()

    def _continue(self, step: int) -> None:
        """Drop what a killed run wrote after its last checkpoint."""
        self._since = time.monotonic()
        if is_first():
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._write([line for line in self._lines() if line["step"] <= step])

    def _add(self, state: Any, logs: dict[str, Any]) -> None:
        import torch

        accelerator = self._trainer.accelerator
        now = time.monotonic()
        seconds, self._since = now - self._since, now
        mine = torch.tensor([*self._counts, _memory()], device=accelerator.device, dtype=torch.float64)[None]
        every = accelerator.gather(mine)
        (tokens, positions, squares), memory = every[:, :3].sum(0).tolist(), every[:, 3].max().item()
        self._counts = [0.0, 0.0, 0.0]
        if not is_first():
            return
        speed = tokens / seconds / accelerator.num_processes
        flops = self._cost(tokens, squares)
        used = flops / seconds / accelerator.num_processes / self._peak if flops and self._peak else None
        figures = {"tokens": int(tokens), "filled": tokens / max(positions, 1), "seconds": seconds}
        figures |= {"tokens_per_second": speed, "mfu": used, "memory_gb": memory}
        with self._file.open("a") as file:
            file.write(json.dumps({"step": state.global_step, **_numbers(logs), **figures}) + "\n")
        told = {"loss": float(logs["loss"]), "tokens/s": round(speed)}
        self._progress(state.global_step, state.max_steps, unit="steps", **told)

    def _add_held_out(self, step: int, logs: dict[str, Any]) -> None:
        """Beside the figures of the step behind which the held-out samples were looked at."""
        lines = list(self._lines())
        if not lines or lines[-1]["step"] != step:
            lines.append({"step": step})
        lines[-1] |= {name: value for name, value in _numbers(logs).items() if name.startswith("eval_")}
        self._write(lines)

    def _write(self, lines: list[dict[str, Any]]) -> None:
        scratch = self._file.with_suffix(".tmp")
        scratch.write_text("".join(json.dumps(line) + "\n" for line in lines))
        os.replace(scratch, self._file)

    def _lines(self) -> Iterator[dict[str, Any]]:
        if self._file.exists():
            for line in self._file.read_text().splitlines():
                try:
                    yield json.loads(line)
                except json.JSONDecodeError:  # cut off by a kill
                    return

    def figures(self) -> dict[str, Any]:
        """The last that was logged, the loss as the mean of the last ten steps, and `speed` over the whole training."""
        history = [entry for entry in self._trainer.state.log_history if "loss" in entry]
        logged = {key: value for entry in history for key, value in entry.items()}
        recent = [entry["loss"] for entry in history[-RECENT:]]
        logged["loss"] = sum(recent) / len(recent) if recent else None
        return logged | {"speed": self._speed()}

    def _speed(self) -> dict[str, Any]:
        lines = [line for line in self._lines() if "seconds" in line]
        seconds = sum(line["seconds"] for line in lines)
        if not seconds:
            return {}

        def mean(name: str) -> float | None:
            known = [line[name] * line["seconds"] for line in lines if line[name] is not None]
            return sum(known) / seconds if len(known) == len(lines) else None

        speed = {name: mean(name) for name in ("tokens_per_second", "mfu", "filled")}
        return speed | {"memory_gb": max(line["memory_gb"] for line in lines)}

    def save(self, out: Path) -> None:
        """Lay the series beside the model, and what tensorboard was told."""
        shutil.copy(self._file, out / NAME)
        told = Path(self._trainer.args.output_dir) / "runs"
        if told.exists():
            shutil.copytree(told, out / "runs", dirs_exist_ok=True)


def count(batch: dict[str, Any]) -> tuple[float, float, float]:
    """(tokens, positions, sum of squared lengths) of a batch: padded, or samples laid behind one another."""
    tokens = positions = squares = 0.0
    names = ["input_ids"] if "input_ids" in batch else [name for name in batch if name.endswith("_input_ids")]
    for name in names:
        mask = batch.get(name.replace("input_ids", "attention_mask"))
        lengths = _packed_lengths(batch["position_ids"][0]) if mask is None else mask.sum(1)
        tokens += float(lengths.sum())
        squares += float((lengths.double() ** 2).sum())
        positions += batch[name].numel()
    return tokens, positions, squares


def _packed_lengths(positions: Any) -> Any:
    import torch

    starts = (positions == 0).nonzero().flatten()
    return torch.diff(starts, append=starts.new_tensor([len(positions)]))


def _numbers(logs: dict[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in logs.items() if isinstance(value, (int, float, str)) and key != "step"}


def _precision(trainer: Any) -> str:
    """What is computed with, by whichever of three ways it is asked for."""
    import torch

    config = getattr(getattr(trainer.args, "hf_deepspeed_config", None), "config", {})
    cast = trainer.args.bf16 or config.get("torch_autocast", {}).get("enabled")
    return "bfloat16" if cast or trainer.model.dtype == torch.bfloat16 else "float32"


def _device() -> str:
    import torch

    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else "cpu"


def _memory() -> float:
    import torch

    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated() / 1e9)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
