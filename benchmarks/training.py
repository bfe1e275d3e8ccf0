"""How fast this project's trainings are, against TRL's own script and padded against packed; on a GPU, against the hardware.

On a CPU, with the miniature's tokenizer and a small random model:

    python benchmarks/training.py

packing_efficiency   the share of positions that hold a token when samples of heavy-tailed lengths are packed to 8192
step_time_vs_trl     the time of our step over that of TRL's SFTTrainer as its documentation uses it: same model, samples, order,
                     batches and settings. The two step alternately, the median ratio of neighbouring steps counts, and both must
                     see the same tokens and come to the same loss
step_cpu_vs_trl      the same in seconds of CPU, which other work on the machine does not change as much; `load` says how much there is
packed_vs_padded     trained tokens a second of CPU, packed over padded

On a GPU, a model of a real shape with random weights:

    python benchmarks/training.py --shape llama3-8b --length 8192 --method sft     # or lora, dpo

gives tokens a second, the share of the device's peak (MFU), and peak memory beside what was predicted. The last line is one JSON
object of the figures.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

import torch

SHAPES = {
    "llama3-8b": {
        "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256, "rope_theta": 500000.0,
        "max_position_embeddings": 8192, "tie_word_embeddings": False,
    },
}  # fmt: skip
MINIATURE = {"hidden": 192, "layers": 4, "heads": 6, "intermediate": 512}
LENGTH, BATCH, RATE = 256, 16, 1e-3


class Clock:
    """A trainer's callback that takes the time from the start of a step to that of the next, all that lies between included.

    Given a turn, its own semaphore and the other side's, two trainers step alternately; the waiting is not counted.
    """

    def __init__(self, turn: tuple[Any, Any] | None = None) -> None:
        from transformers import TrainerCallback

        outer = self
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []

        class Take(TrainerCallback):  # type: ignore[misc]
            def on_step_begin(self, *_: Any, **__: Any) -> None:
                outer.step()

            def on_train_end(self, *_: Any, **__: Any) -> None:
                if turn:
                    turn[1].release()

        self.callback, self.turn = Take(), turn
        self.begun: tuple[float, float] | None = None

    def step(self) -> None:
        """A step begins; the one before is over."""
        if self.begun:
            self.seconds.append(_now() - self.begun[0])
            self.cpu_seconds.append(time.process_time() - self.begun[1])
            if self.turn:
                self.turn[1].release()
        if self.turn and not self.turn[0].acquire(timeout=300):
            raise TimeoutError("the other side no longer steps")
        self.begun = _now(), time.process_time()


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def packing_efficiency(rows: int, length: int) -> float:
    """Lengths are log-normal, as those of real chats: their mean is 480 tokens, one in a hundred is over 3000."""
    from datasets import Dataset

    from magpie_align.training.packing import efficiency, pack

    rng = Random(0)
    lengths = [min(max(int(rng.lognormvariate(5.6, 1.05)), 8), length) for _ in range(rows)]
    samples = Dataset.from_dict({"input_ids": [[1] * n for n in lengths], "labels": [[1] * n for n in lengths]})
    return float(efficiency(pack(samples, length), length))


class Miniature:
    """A small random model, its tokenizer, and conversations of one question each."""

    def __init__(self, folder: Path, rows: int) -> None:
        import pyarrow as pa

        from magpie_align.flow.table import write_rows
        from magpie_align.mini.language import generate
        from magpie_align.mini.model import ModelSize, new_model, save_model
        from magpie_align.mini.tokenizer import build_tokenizer
        from magpie_align.training import fit

        torch.manual_seed(0)
        self.folder, self.model, self.rows = folder, folder / "model", folder / "rows"
        self.model.mkdir(parents=True)
        tokenizer = build_tokenizer(self.model, samples=500)
        save_model(new_model(tokenizer, ModelSize(**MINIATURE)), tokenizer, self.model)
        self.tokenizer = fit.load_tokenizer(self.model)
        rng = Random(0)
        items = [generate(rng) for _ in range(rows)]
        self.prompts = [[{"role": "user", "content": item.instruction}] for item in items]
        self.answers = [[{"role": "assistant", "content": item.answer}] for item in items]
        both = [{"messages": [*p, *a]} for p, a in zip(self.prompts, self.answers, strict=True)]
        write_rows(self.rows, pa.Table.from_pylist(both))

    def network(self) -> Any:
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(self.model, dtype=torch.float32)

    def ours(self, turn: tuple[Any, Any] | None, *, packing: bool = False) -> dict[str, Any]:
        """The functions that the stage `sft` runs, and what they do beside TRL's: watching, series, checkpoints."""
        from magpie_align.training import data, fit, sft
        from magpie_align.training.chat import Chat
        from magpie_align.training.settings import SFTSettings

        work = self.folder / "ours"
        settings = SFTSettings(
            learning_rate=RATE, batch_size=BATCH // 4 if packing else BATCH, micro_batch_size=1 if packing else BATCH,
            max_length=LENGTH, precision="float32", schedule="constant", packing=packing, checkpoints=0,
            trl={} if packing else {"train_sampling_strategy": "sequential"},
        )  # fmt: skip
        prepared = data.prepare_sft(self.rows, Chat(self.tokenizer), LENGTH, work / "data")
        trainer = sft.make_trainer(self.network(), self.tokenizer, prepared.dataset, settings, work, 0)
        clock = Clock(turn)
        trainer.add_callback(clock.callback)
        fit.run_trainer(trainer, prepared.dataset, work, lambda *_, **__: None)
        return _figures(trainer, clock, prepared.counts["trained tokens"])

    def trls(self, turn: tuple[Any, Any] | None) -> dict[str, Any]:
        """TRL's own way: messages in, rendered, masked and collated by it."""
        from datasets import Dataset
        from trl import SFTConfig, SFTTrainer

        config = SFTConfig(
            output_dir=str(self.folder / "trl"), learning_rate=RATE, per_device_train_batch_size=BATCH, num_train_epochs=1,
            max_length=LENGTH, bf16=False, gradient_checkpointing=False, lr_scheduler_type="constant", use_cpu=True,
            save_strategy="no", report_to="none", disable_tqdm=True, seed=0, optim="adamw_torch",
            completion_only_loss=True, train_sampling_strategy="sequential",
        )  # fmt: skip
        dataset = Dataset.from_dict({"prompt": self.prompts, "completion": self.answers})
        clock = Clock(turn)
        trainer = SFTTrainer(
            model=self.network(), args=config, train_dataset=dataset, processing_class=self.tokenizer,
            callbacks=[clock.callback],
        )  # fmt: skip
        trainer.train()
        return _figures(trainer, clock, 0)


def _figures(trainer: Any, clock: Clock, trained: int) -> dict[str, Any]:
    history = trainer.state.log_history
    timed = len(clock.cpu_seconds) / trainer.state.global_step
    return {
        "seconds": clock.seconds,
        "cpu_seconds": clock.cpu_seconds,
        "rate": trained * timed / sum(clock.cpu_seconds),
        "tokens": max(entry.get("num_tokens", 0) for entry in history),
        "loss": next(entry["train_loss"] for entry in reversed(history) if "train_loss" in entry),
    }


def _side(name: str, folder: str, rows: int, turn: tuple[Any, Any] | None, told: Any) -> None:
    """One way, in a process of its own."""
    torch.set_num_threads(1)
    mini = Miniature(Path(folder) / name, rows)
    told.put((name, mini.trls(turn) if name == "trl" else mini.ours(turn, packing=name == "packed")))


def on_cpu(rows: int, packed_rows: int) -> dict[str, Any]:
    """Both sides in two processes that step alternately, so that what else the machine does meets both; then packed."""
    context = multiprocessing.get_context("spawn")
    told: Any = context.Queue()
    ours_turn, trl_turn = context.Semaphore(1), context.Semaphore(0)
    turns = {"ours": (ours_turn, trl_turn), "trl": (trl_turn, ours_turn)}
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, dict[str, Any]] = {}
        for names in (["ours", "trl"], ["packed"]):
            sides = [context.Process(target=_side, args=(n, folder, rows, turns.get(n), told)) for n in names]
            for side in sides:
                side.start()
            found |= dict(told.get(timeout=1800) for _ in sides)
            for side in sides:
                side.join()
    ours, trl = found["ours"], found["trl"]
    if ours["tokens"] != trl["tokens"] or abs(ours["loss"] - trl["loss"]) > 1e-4 * trl["loss"]:
        raise SystemExit(f"the two sides did not do the same: {ours} against {trl}")

    def against(figure: str) -> float:
        """The median ratio of neighbouring steps, without the first three, which warm up."""
        pairs = list(zip(ours[figure], trl[figure], strict=True))[3:]
        return round(statistics.median(a / b for a, b in pairs), 4)

    return {
        "packing_efficiency": round(packing_efficiency(packed_rows, 8192), 4),
        "step_time_vs_trl": against("seconds"),
        "step_cpu_vs_trl": against("cpu_seconds"),
        "step_ms": {n: round(1000 * statistics.median(found[n]["seconds"]), 1) for n in ("ours", "trl")},
        "step_cpu_ms": {n: round(1000 * statistics.median(found[n]["cpu_seconds"]), 1) for n in ("ours", "trl")},
        "steps": len(ours["seconds"]),
        "packed_vs_padded": round(found["packed"]["rate"] / ours["rate"], 4),
        "load": os.getloadavg()[0],
        "loss": {"ours": ours["loss"], "trl": trl["loss"]},
        "tokens": ours["tokens"],
    }


def on_gpu(shape: str, method: str, length: int, micro: int, steps: int, **kernels: bool) -> dict[str, Any]:
    """A training of random weights on random tokens, all of the greatest length; each step takes two micro batches."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    from magpie_align.mini.tokenizer import build_tokenizer
    from magpie_align.training import dpo, fit, sft
    from magpie_align.training.memory import TrainingJob, predict
    from magpie_align.training.mfu import Cost, peak
    from magpie_align.training.packing import packed_attention
    from magpie_align.training.settings import AdapterSettings, DPOSettings, SFTSettings

    config, device = SHAPES[shape], torch.cuda.get_device_name()
    rank = 16 if method == "lora" else None
    given = {
        "batch_size": 2 * micro, "micro_batch_size": micro, "max_length": length, "optimizer": "adamw_torch_fused",
        "weights": "bfloat16", "checkpoints": 0, "learning_rate": 1e-6, **kernels,
        "adapter": AdapterSettings(r=rank) if rank else None, "trl": {"max_steps": steps + 2},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        build_tokenizer(work, samples=200).save_pretrained(work)
        tokenizer = AutoTokenizer.from_pretrained(work)
        with torch.device("cuda"):
            network = AutoModelForCausalLM.from_config(
                AutoConfig.for_model(**config),
                dtype=torch.bfloat16,
                attn_implementation=packed_attention(None) or "sdpa",
            )
        samples = _random_samples(method, config["vocab_size"], length, 2 * micro * (steps + 2), work)
        if method == "dpo":
            trainer = dpo.make_trainer(network, tokenizer, samples, DPOSettings(**given), work, 0)
        else:
            trainer = sft.make_trainer(network, tokenizer, samples, SFTSettings(packing=True, **given), work, 0)
        clock = Clock()
        trainer.add_callback(clock.callback)
        cost = Cost(trainer.model)
        torch.cuda.reset_peak_memory_stats()
        fit.run_trainer(trainer, samples, work, lambda *_, **__: None)
    job = TrainingJob(
        "dpo" if method == "dpo" else "sft", length, micro, adapter_rank=rank, gradient_checkpointing=kernels["gradient_checkpointing"],
        packing=method != "dpo", optimizer="adamw_torch_fused",
    )  # fmt: skip
    sequences = 2 * micro * (2 if method == "dpo" else 1)
    seconds = statistics.median(clock.seconds[2:])
    flops, most = cost(sequences * length, sequences * length**2), peak(device, "bfloat16")
    measured, predicted = torch.cuda.max_memory_allocated(), predict(config, job)
    return {
        "device": device, "shape": shape, "method": method, "length": length, "micro_batch_size": micro,
        "attention": network.config._attn_implementation, **kernels, "tokens_per_second": round(sequences * length / seconds),
        "mfu": round(flops / seconds / most, 4) if flops and most else None,
        "peak_gib": round(measured / 2**30, 2), "predicted_gib": round(predicted.total / 2**30, 2),
        "prediction_error": round(predicted.total / measured - 1, 4), "predicted": dict(predicted.lines()),
    }  # fmt: skip


def _random_samples(method: str, vocabulary: int, length: int, count: int, work: Path) -> Any:
    from datasets import Dataset

    rows = torch.randint(3, vocabulary, (2 * count, length), generator=torch.Generator().manual_seed(0)).tolist()
    if method == "dpo":
        both = zip(rows[:count], rows[count:], strict=True)
        made = [{"prompt_ids": a[: length // 4], "chosen_ids": a[length // 4 :], "rejected_ids": b[length // 4 :]} for a, b in both]  # fmt: skip
    else:
        made = [{"input_ids": ids, "labels": ids} for ids in rows[:count]]
    Dataset.from_list(made).to_parquet(str(work / "samples.parquet"))
    return Dataset.from_parquet(str(work / "samples.parquet"), cache_dir=str(work / "cache"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=960, help=f"conversations of the miniature, {BATCH} a step")
    parser.add_argument("--packed-rows", type=int, default=20_000, help="samples whose packing is measured")
    parser.add_argument("--shape", choices=SHAPES, help="a model of this shape, on a GPU")
    parser.add_argument("--method", choices=["sft", "lora", "dpo"], default="sft")
    parser.add_argument("--length", type=int, default=8192)
    parser.add_argument("--micro-batch-size", type=int, default=1)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--no-checkpointing", action="store_true", help="keep all activations")
    parser.add_argument("--liger", action="store_true")
    parser.add_argument("--compile", action="store_true")
    given = parser.parse_args()
    if given.shape and not torch.cuda.is_available():
        parser.error("--shape needs a GPU, and there is none here")
    if given.shape:
        found = on_gpu(
            given.shape,
            given.method,
            given.length,
            given.micro_batch_size,
            given.steps,
            gradient_checkpointing=not given.no_checkpointing,
            liger=given.liger,
            compile=given.compile,
        )
    else:
        found = on_cpu(given.rows, given.packed_rows)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
