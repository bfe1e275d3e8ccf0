"""What every engine is: requests are pulled lazily in, completions come out as each finishes, in any order."""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from magpie_align.records import Message

Finish = Literal["stop", "length", "error"]
Capability = Literal["tokens", "chat", "seed", "first_token", "structured", "logprobs"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How one completion is drawn. `temperature` 0 is greedy; `stop_ids` end a completion and are not part of its text.

    `first_temperature` and `first_banned` (ids that may not be drawn) hold for the first token alone; they need an engine
    opened for `first_token`.

    `schema` (a JSON schema as JSON text), `choice` (whole answers) or `regex`, at most one of them, hold a completion to a
    form: no token that leaves it can be drawn, and it can end only where the form is complete. They need an engine that
    can do `structured`; at `max_tokens` a completion is cut all the same.

    `logprobs` asks for so many of the likeliest alternatives at each generated token, of an engine that gives `logprobs`.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 256
    stop_ids: tuple[int, ...] = ()
    stop: tuple[str, ...] = ()
    seed: int | None = None
    repetition_penalty: float = 1.0
    first_temperature: float | None = None
    first_banned: tuple[int, ...] = ()
    schema: str | None = None
    choice: tuple[str, ...] = ()
    regex: str | None = None
    logprobs: int = 0

    @property
    def steers_first(self) -> bool:
        """Whether the first token is drawn in another way than the rest."""
        return self.first_temperature is not None or bool(self.first_banned)

    @property
    def structured(self) -> bool:
        """Whether the completion is held to a form."""
        return self.schema is not None or bool(self.choice) or self.regex is not None


@dataclass(frozen=True, slots=True)
class Request:
    """One completion wanted. `key` comes back with it. Give token ids (`prompt`) or, for chat endpoints, `messages`."""

    key: Hashable
    prompt: tuple[int, ...] = ()
    messages: tuple[Message, ...] = ()
    sampling: Sampling = Sampling()


@dataclass(frozen=True, slots=True)
class Completion:
    """One finished request.

    `token_ids` are the generated ids without the stop id that ended it; `text` is their decoding with special tokens
    left out. `stop_reason` is the stop id or stop string that ended it, None at the length limit. With
    `finish == "error"` the text is empty and `error` says why; `passing` is whether a later try may succeed, as after a
    server's failure, or would only fail again. A chat server gives no ids; `counted` is how many tokens it says there were. `logprobs` holds, for each generated token, the alternatives asked for: their text and natural logarithms
    of their probabilities; empty where none were asked for or the server gave none.
    """

    key: Hashable
    text: str
    token_ids: tuple[int, ...] = ()
    finish: Finish = "stop"
    stop_reason: int | str | None = None
    error: str | None = None
    counted: int = 0
    passing: bool = False
    logprobs: tuple[Mapping[str, float], ...] = ()

    @property
    def tokens(self) -> int:
        """How many tokens were generated."""
        return len(self.token_ids) or self.counted


class Engine(Protocol):
    """A model ready to complete. `capabilities` says what it can take: token ids, chat messages, a seed a request,
    first-token control, answers held to a form, log probabilities given back."""

    capabilities: frozenset[Capability]
    provenance: dict[str, Any]
    """What produced the text, for manifests: engine, its version, model, dtype."""
    window: int
    """How many requests it takes in before the first of them is finished."""

    def generate(self, requests: Iterable[Request | None]) -> Iterator[Completion]:
        """Yield one completion a request, as each finishes.

        `requests` is pulled only when there is room, so it may be endless or fed by the completions already yielded;
        it yields None for "nothing now, go on with what you have".
        """
        ...

    def close(self) -> None:
        """Free the model's memory."""
        ...
