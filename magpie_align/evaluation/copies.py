"""Data parallelism for lm-eval: copies of its model, each in a process of its own on its own GPUs, behind the contract of one.

lm-eval builds every prompt here, once, so that the examples it draws do not depend on the number of copies (they do where each
process builds its own share). Its own way for vLLM needs ray and loads the model anew for each kind of request.
"""

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from magpie_align.engines import EngineSettings
from magpie_align.engines.replicas import visible_gpus
from magpie_align.errors import StageError
from magpie_align.evaluation.lm import Watch, open_lm


class Copies(LM):  # type: ignore[misc]
    """`count` copies of lm-eval's model of a folder. Raises StageError where one does not load or ends while it has work."""

    def __init__(self, model: Path, engine: EngineSettings, batch_size: int, count: int) -> None:
        super().__init__()
        self.watch = Watch()
        gpus, each = visible_gpus(), engine.tensor_parallel_size
        spawn = multiprocessing.get_context("spawn")
        self._copies: list[Executor] = []
        for number in range(count):
            own = ",".join(gpus[number * each : (number + 1) * each])
            self._copies.append(ProcessPoolExecutor(1, spawn, _use, (own,)))
        one = engine.model_copy(update={"data_parallel_size": 1})
        self._ask([(_open, model, one, batch_size)] * count)
        (self._tokenizer_name,) = self._ask([(_get, "tokenizer_name")])

    @property
    def tokenizer_name(self) -> str:
        return str(self._tokenizer_name)

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        return self._spread("loglikelihood", requests)

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        return self._spread("loglikelihood_rolling", requests)

    def generate_until(self, requests: list[Instance]) -> list[str]:
        return self._spread("generate_until", requests)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        (text,) = self._ask([(_call, "apply_chat_template", chat_history, add_generation_prompt)])
        return str(text)

    def close(self) -> None:
        for copy in self._copies:
            copy.shutdown(wait=False, cancel_futures=True)

    def _spread(self, method: str, requests: list[Instance]) -> list[Any]:
        """Every copy gets each so-manieth request: those of one task are alike long."""
        count = len(self._copies)
        shares = [[(r.request_type, r.arguments) for r in requests[number::count]] for number in range(count)]
        answers: list[Any] = [None] * len(requests)
        for number, (part, watch) in enumerate(self._ask([(_answer, method, share) for share in shares])):
            answers[number::count] = part
            self.watch.cut |= watch.cut
            self.watch.shortened |= watch.shortened
        return answers

    def _ask(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        asked = [copy.submit(*call) for copy, call in zip(self._copies, calls, strict=False)]
        try:
            return [future.result() for future in asked]
        except BrokenProcessPool:
            raise StageError(
                "a copy of the model ended while it had work; its own words are in the log above"
            ) from None


_OPENED: dict[str, Any] = {}
"""In the process of a copy: its model, and what is watched of it."""


def _use(gpus: str) -> None:
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus


def _open(model: Path, engine: EngineSettings, batch_size: int) -> None:
    _OPENED["lm"], _OPENED["watch"] = open_lm(model, engine, batch_size)


def _get(name: str) -> Any:
    return getattr(_OPENED["lm"], name)


def _call(name: str, *args: Any) -> Any:
    return getattr(_OPENED["lm"], name)(*args)


def _answer(method: str, requests: list[tuple[Any, tuple[Any, ...]]]) -> tuple[list[Any], Watch]:
    asked = [Instance(kind, {}, arguments, number) for number, (kind, arguments) in enumerate(requests)]
    return (getattr(_OPENED["lm"], method)(asked) if asked else []), _OPENED["watch"]
