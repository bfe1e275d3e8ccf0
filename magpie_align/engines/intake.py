"""What every engine does with incoming requests: pull them lazily, refuse the impossible, close a finished one."""

import json
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from magpie_align.engines.protocol import Capability, Completion, Finish, Request, Sampling
from magpie_align.engines.tokenizer import decode

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IDLE_S = 0.005
"""Pause, in seconds, when the source has nothing now and nothing is running."""


class Intake:
    """A request source that is never asked for more than there is room for."""

    def __init__(self, requests: Iterable[Request | None]) -> None:
        self._source: Iterator[Request | None] = iter(requests)
        self.exhausted = False

    def take(self, room: int, *, idle: bool) -> Iterator[Request]:
        """Up to `room` requests, ending early at the source's None or its end. Waits a moment if all is `idle`."""
        taken = 0
        while taken < room and not self.exhausted:
            try:
                request = next(self._source)
            except StopIteration:
                self.exhausted = True
                return
            if request is None:
                if idle and not taken:
                    time.sleep(IDLE_S)
                return
            taken += 1
            yield request


NOT_STEERED = "this engine cannot control the first token; open vllm or transformers with needs={'first_token'}"
NOT_STRUCTURED = "this engine cannot hold an answer to a schema, choice or regex; open vllm or a server that can"
NO_LOGPROBS = "this engine gives no log probabilities of tokens; open vllm or a server that does"


def lacking(sampling: Sampling, capabilities: frozenset[Capability]) -> str | None:
    """One sentence on what a request asks of its engine that it cannot do, or None. Nothing is ever quietly left out."""
    if sampling.steers_first and "first_token" not in capabilities:
        return NOT_STEERED
    if sampling.logprobs and "logprobs" not in capabilities:
        return NO_LOGPROBS
    return NOT_STRUCTURED if sampling.structured and "structured" not in capabilities else None


@dataclass(frozen=True, slots=True)
class Limits:
    """What a loaded model can take: the longest prompt plus completion, and the size of its vocabulary."""

    max_model_len: int
    vocab_size: int

    def refuse(self, request: Request) -> str | None:
        """One sentence why this request can never run, or None."""
        length = len(request.prompt)
        if not length:
            return "the request has no prompt ids; this engine completes token ids, not chat messages"
        if length >= self.max_model_len:
            return (
                f"the prompt of {length} tokens leaves no room in max_model_len={self.max_model_len}; "
                "shorten it or raise engine.max_model_len"
            )
        if not 0 <= min(request.prompt) <= max(request.prompt) < self.vocab_size:
            return f"the prompt has token ids outside the model's vocabulary of {self.vocab_size}"
        return _bad_sampling(request.sampling)


def _bad_sampling(sampling: Sampling) -> str | None:
    if sampling.max_tokens < 1:
        return f"sampling.max_tokens is {sampling.max_tokens}; it must be at least 1"
    if not 0 <= sampling.temperature <= 2:
        return f"sampling.temperature is {sampling.temperature}; it must be between 0 (greedy) and 2"
    if sampling.first_temperature is not None and not 0 < sampling.first_temperature <= 2:
        return f"sampling.first_temperature is {sampling.first_temperature}; it must be above 0 and at most 2"
    if sampling.first_temperature is not None and sampling.temperature == 0:
        return "sampling.first_temperature is set, but temperature 0 is greedy; raise the temperature or leave it out"
    if not 0 < sampling.top_p <= 1:
        return f"sampling.top_p is {sampling.top_p}; it must be above 0 and at most 1"
    if sampling.repetition_penalty <= 0:
        return f"sampling.repetition_penalty is {sampling.repetition_penalty}; it must be above 0 (1 is none)"
    if sampling.seed is not None and not 0 <= sampling.seed < 1 << 63:
        return f"sampling.seed is {sampling.seed}; it must be between 0 and 2**63 - 1"
    if sampling.logprobs < 0:
        return f"sampling.logprobs is {sampling.logprobs}; it must be at least 0"
    if "" in sampling.stop:
        return "sampling.stop has an empty string, which would stop at once; leave it out"
    return _bad_form(sampling) if sampling.structured else None


def _bad_form(sampling: Sampling) -> str | None:
    given = [name for name in ("schema", "choice", "regex") if getattr(sampling, name)]
    if len(given) != 1:
        return (
            f"sampling holds the answer to {' and '.join(given) or 'an empty form'}; give one of schema, choice, regex"
        )
    try:
        json.loads(sampling.schema or "{}")
        re.compile(sampling.regex or "")
    except (ValueError, re.error) as error:
        return f"sampling.{given[0]} cannot be read: {error}"
    return None


def failed(request: Request, reason: str, passing: bool = False) -> Completion:
    """The completion of a request that could not be completed, for now or (not `passing`) ever."""
    return Completion(request.key, "", finish="error", error=reason, passing=passing)


def finished(
    request: Request,
    tokenizer: "PreTrainedTokenizerBase",
    ids: tuple[int, ...],
    finish: Finish,
    stop_reason: int | str | None = None,
) -> Completion:
    """The completion of generated `ids`; a stop id at their end is taken off, text ends before a stop string."""
    if finish == "stop" and isinstance(stop_reason, int) and ids and ids[-1] == stop_reason:
        ids = ids[:-1]
    text = decode(tokenizer, ids, stop_reason if isinstance(stop_reason, str) else None)
    return Completion(request.key, text, ids, finish, stop_reason)
