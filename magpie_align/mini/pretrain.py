"""Training the miniature world's own models: the base on plain documents, the teacher on private chats.

    train_base(tokenizer, folder)           a base model from fresh weights
    train_teacher(base_folder, folder)      the aligned model, starting from the base
    fit(model, batches, schedule)           the loop behind both

The schedule counts steps, never seconds, and batches are functions of the step: the same seed and settings give the
same weights on one machine with one number of threads, also when the run was killed and resumed from its checkpoint.
"""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerBase

from magpie_align.mini.batches import Batch, BatchSource, Sample, encode_chat, encode_document
from magpie_align.mini.corpus import document, private_chat
from magpie_align.mini.model import ModelSize, new_model, save_model
from magpie_align.mini.muon import Muon
from magpie_align.settings import Settings

Progress = Callable[..., None]
"""Called as `progress(done, total, **metrics)`."""


class Schedule(Settings):
    """How long and how fast to train. The rate warms up, holds, then falls along a cosine to a fiftieth of its peak."""

    steps: int
    batch: int = 48
    muon_rate: float = 2e-3
    adam_rate: float = 2e-3
    weight_decay: float = 0.05
    warmup: int = 50
    hold: float = 0.3
    seed: int = 0


BASE_SCHEDULE = Schedule(steps=400)
TEACHER_SCHEDULE = Schedule(steps=1000)


def rate_at(schedule: Schedule, step: int) -> float:
    """The learning rate of `step` as a share of its peak."""
    warm, done = min(1.0, (step + 1) / schedule.warmup), step / schedule.steps
    if done < schedule.hold:
        return warm
    return warm * (0.02 + 0.49 * (1 + math.cos(math.pi * (done - schedule.hold) / (1 - schedule.hold))))


def _optimizers(model: LlamaForCausalLM, schedule: Schedule) -> list[torch.optim.Optimizer]:
    hidden = [p for name, p in model.named_parameters() if p.dim() > 1 and ".layers." in name]
    others = [p for name, p in model.named_parameters() if not (p.dim() > 1 and ".layers." in name)]
    return [
        Muon(hidden, schedule.muon_rate, schedule.weight_decay),
        torch.optim.AdamW(others, schedule.adam_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]


def weighted_loss(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """Mean next-token cross-entropy (nats), each target by its weight."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(input_ids=batch.ids[:, :-1], use_cache=False).logits
    losses = torch.nn.functional.cross_entropy(
        logits.float().flatten(0, 1), batch.ids[:, 1:].flatten(), reduction="none"
    )
    weights = batch.weights[:, 1:].flatten()
    return (losses * weights).sum() / weights.sum()


def fit(
    model: LlamaForCausalLM,
    batches: Callable[[int], Batch],
    schedule: Schedule,
    checkpoint: Path | None = None,
    every: int = 200,
    progress: Progress | None = None,
) -> None:
    """Train `model` in place; with a `checkpoint` file, state is kept there every so many steps and picked up again."""
    optimizers = _optimizers(model, schedule)
    start = _resume(checkpoint, model, optimizers) if checkpoint else 0
    model.train()
    for step in range(start, schedule.steps):
        for optimizer, peak in zip(optimizers, (schedule.muon_rate, schedule.adam_rate), strict=True):
            optimizer.param_groups[0]["lr"] = peak * rate_at(schedule, step)
        loss = weighted_loss(model, batches(step))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        model.zero_grad(set_to_none=True)
        if checkpoint and (step + 1) % every == 0:
            _save_state(checkpoint, model, optimizers, step + 1)
        if progress:
            progress(step + 1, schedule.steps, loss=loss.item())
    model.eval()


def _save_state(path: Path, model: LlamaForCausalLM, optimizers: list[torch.optim.Optimizer], step: int) -> None:
    """Write beside the target, then rename: a kill leaves the old checkpoint or the new one."""
    state = {"step": step, "model": model.state_dict(), "optimizers": [o.state_dict() for o in optimizers]}
    partial_file = path.with_suffix(".partial")
    torch.save(state, partial_file)
    os.replace(partial_file, path)


def _resume(path: Path, model: LlamaForCausalLM, optimizers: list[torch.optim.Optimizer]) -> int:
    if not path.exists():
        return 0
    state: dict[str, Any] = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return int(state["step"])


def _train(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    sample: Callable[[int], Sample],
    schedule: Schedule,
    folder: Path,
    progress: Progress | None,
) -> None:
    """Fit on samples by index and save; a checkpoint lives in `folder` until the model does."""
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "checkpoint.pt"
    batches = BatchSource(sample, schedule.batch, tokenizer.pad_token_id, schedule.seed)
    fit(model, batches, schedule, checkpoint, progress=progress)
    save_model(model, tokenizer, folder)
    checkpoint.unlink(missing_ok=True)


def train_base(
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    size: ModelSize | None = None,
    schedule: Schedule = BASE_SCHEDULE,
    progress: Progress | None = None,
) -> None:
    """A base model that has only read plain documents, saved in `folder`."""
    backend = tokenizer.backend_tokenizer
    model = new_model(tokenizer, size, schedule.seed)
    _train(model, tokenizer, lambda i: encode_document(backend, document(schedule.seed, i)), schedule, folder, progress)


def train_teacher(
    base: Path, folder: Path, schedule: Schedule = TEACHER_SCHEDULE, progress: Progress | None = None
) -> None:
    """The aligned model: the base trained on private chats, saved in `folder`."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = LlamaForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager")
    backend = tokenizer.backend_tokenizer
    _train(model, tokenizer, lambda i: encode_chat(backend, private_chat(schedule.seed, i)), schedule, folder, progress)
