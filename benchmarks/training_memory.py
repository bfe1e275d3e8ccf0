"""The memory that `magpie_align.training.memory` predicts against what the tensors of real training steps take.

Real trainers on a CPU, with small models: every storage that a step allocates is counted until it is freed. What Triton does in
place on a GPU, torch does here with copies; those tiles are cut small, so that what is counted is what a GPU would hold. The
last line is a JSON object with the largest relative error.

    python benchmarks/training_memory.py
"""

import argparse
import json
import sys
import tempfile
import weakref
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from magpie_align.training import cpo, dpo, fit, orpo, sft
from magpie_align.training.memory import Memory, TrainingJob, predict
from magpie_align.training.settings import AdapterSettings, CPOSettings, DPOSettings, ORPOSettings, SFTSettings

SMALL = {
    "model_type": "llama", "hidden_size": 256, "num_hidden_layers": 6, "num_attention_heads": 8, "num_key_value_heads": 8,
    "intermediate_size": 896, "vocab_size": 2048, "tie_word_embeddings": False,
}  # fmt: skip
WIDE = SMALL | {"hidden_size": 384, "num_hidden_layers": 3, "num_attention_heads": 6, "num_key_value_heads": 6}
METHODS = {
    "sft": (sft, SFTSettings),
    "dpo": (dpo, DPOSettings),
    "orpo": (orpo, ORPOSettings),
    "cpo": (cpo, CPOSettings),
}
CASES: dict[str, tuple[dict[str, Any], TrainingJob]] = {
    "sft": (SMALL, TrainingJob("sft", 512, 2, optimizer="adamw_torch_fused")),
    "sft, checkpointed": (WIDE, TrainingJob("sft", 2048, 1, gradient_checkpointing=True, optimizer="adamw_torch_fused")),
    "sft, 32 bits": (
        SMALL, TrainingJob("sft", 512, 1, dtype_bytes=4, compute_bytes=4, optimizer="adamw_torch_fused")),
    "sft, LoRA": (SMALL, TrainingJob("sft", 512, 2, adapter_rank=16, optimizer="adamw_torch_fused")),
    "sft, LoRA, checkpointed": (
        WIDE, TrainingJob("sft", 2048, 1, adapter_rank=16, gradient_checkpointing=True, optimizer="adamw_torch_fused")),
    "dpo": (SMALL, TrainingJob("dpo", 256, 2, optimizer="adamw_torch_fused")),
    "orpo": (SMALL, TrainingJob("orpo", 256, 2, optimizer="adamw_torch_fused")),
}  # fmt: skip


class Peak(TorchDispatchMode):
    """Counts the bytes of all storages that are made while it is on, and of those it is shown, until they are freed."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[int, int] = {}
        self.now = self.peak = 0

    def show(self, tensor: torch.Tensor) -> None:
        """Count a tensor's storage, once."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self.sizes:
            self.sizes[key] = storage.nbytes()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._freed, key)

    def _freed(self, key: int) -> None:
        self.now -= self.sizes.pop(key, 0)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self.show(tensor)
        return out


def work_in_place() -> None:
    """Let torch's stand-ins for TRL's Triton kernels work on a few rows at once, so that their copies are small."""
    import trl.kernels.chunked_logprob as kernels

    for name in ("_forward_tile", "_backward_tile"):
        setattr(kernels, name, _by_rows(getattr(kernels, name)))

    def addmm(acc: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> None:
        for n in range(0, a.shape[1], 16):
            acc.addmm_(a[:, n : n + 16].float(), b[n : n + 16].float())

    kernels._addmm_fp32 = addmm


def _by_rows(whole: Any) -> Any:
    def rows(tile: torch.Tensor, stride: int, *rest: Any, **kwargs: Any) -> None:
        for n in range(0, len(tile), 16):
            some = [x[n : n + 16] if isinstance(x, torch.Tensor) else x for x in rest]
            whole(tile[n : n + 16], stride, *some, **kwargs)

    return rows


def measured(config: dict[str, Any], job: TrainingJob, work: Path, tokenizer: Any) -> int:
    """Peak bytes of two optimizer steps of two micro batches each."""
    from transformers import AutoConfig, AutoModelForCausalLM

    module, kind = METHODS[job.method]
    types = {2: "bfloat16", 4: "float32"}
    settings = kind(
        learning_rate=1e-4, batch_size=2 * job.micro_batch_size, micro_batch_size=job.micro_batch_size, checkpoints=0,
        max_length=job.max_length, optimizer=job.optimizer, gradient_checkpointing=job.gradient_checkpointing,
        weights=types[int(job.dtype_bytes)], precision=types[job.compute_bytes], trl={"max_steps": 2},
        adapter=AdapterSettings(r=job.adapter_rank) if job.adapter_rank else None,
    )  # fmt: skip
    network = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(**config), dtype=getattr(torch, settings.weights), attn_implementation="sdpa"
    )
    network.save_pretrained(work / "base")
    network.config._name_or_path = str(work / "base")
    trainer = module.make_trainer(network, tokenizer, samples(job, config["vocab_size"], work), settings, work, 0)
    peak = Peak()
    for tensor in [*trainer.model.parameters(), *trainer.model.buffers()]:
        peak.show(tensor)
    with peak:
        trainer.train()
    return peak.peak


def samples(job: TrainingJob, vocabulary: int, work: Path) -> Any:
    """Samples of the greatest length, all of whose tokens are trained; of pairs, all but the first."""
    from datasets import Dataset

    generator = torch.Generator().manual_seed(0)
    count = 4 * job.micro_batch_size
    rows = torch.randint(3, vocabulary, (2 * count, job.max_length), generator=generator).tolist()
    if job.method == "sft":
        made = [{"input_ids": ids, "labels": ids} for ids in rows[:count]]
    else:
        pairs = zip(rows[:count], rows[count:], strict=True)
        made = [{"prompt_ids": a[:1], "chosen_ids": a[1:], "rejected_ids": b[1:]} for a, b in pairs]
    work.mkdir(parents=True, exist_ok=True)
    Dataset.from_list(made).to_parquet(str(work / "samples.parquet"))
    return Dataset.from_parquet(str(work / "samples.parquet"), cache_dir=str(work / "cache"))


def compare(name: str, folder: Path) -> tuple[Memory, int]:
    """The prediction and the measured peak of a case."""
    from magpie_align.mini.tokenizer import build_tokenizer

    (folder / "tokenizer").mkdir(parents=True, exist_ok=True)
    build_tokenizer(folder / "tokenizer", samples=200).save_pretrained(folder / "tokenizer")
    config, job = CASES[name]
    return predict(config, job), measured(config, job, folder / "work", fit.load_tokenizer(folder / "tokenizer"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=list(CASES), help="names of cases; all if left out")
    errors = {}
    work_in_place()
    for name in parser.parse_args().cases:
        with tempfile.TemporaryDirectory() as folder:
            memory, peak = compare(name, Path(folder))
        errors[name] = memory.total / peak - 1
        parts = ", ".join(f"{part} {getattr(memory, part) / 2**20:.1f}" for part, _ in memory.lines()[:-1])
        print(f"{name:<26}measured {peak / 2**20:7.1f} MiB  predicted {memory.total / 2**20:7.1f} ({errors[name]:+.1%}): {parts}", file=sys.stderr)  # fmt: skip
    print(json.dumps({"largest_error": max(map(abs, errors.values())), "errors": errors}))


if __name__ == "__main__":
    main()
