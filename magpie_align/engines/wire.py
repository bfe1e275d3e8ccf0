"""What goes over the wire to an OpenAI-compatible server: the body of a request, and the reading of its answer."""

import json
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from magpie_align.engines.intake import NOT_STEERED, failed
from magpie_align.engines.protocol import Completion, Request, Sampling
from magpie_align.engines.settings import EndpointSettings
from magpie_align.errors import StageError
from magpie_align.records import to_dicts
from magpie_align.secrecy import cleaned

if TYPE_CHECKING:
    import httpx

CHARACTERS_PER_TOKEN = 4
PASSING = {408, 409, 425, 429}
HOPELESS = {401: "the key in {key} is not accepted", 404: "there is no such model or path"}


class MayPassError(Exception):
    """A failure worth another try, `wait_s` seconds later if the server said so."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class RefusedError(Exception):
    """A failure that every further try would repeat."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A completion as read, the model that the server says wrote it, and the tokens it counted."""

    completion: Completion
    model: str | None
    prompt_tokens: int
    completion_tokens: int


def refuse(request: Request, endpoint: EndpointSettings) -> str | None:
    """One sentence why this request cannot go to this endpoint, or None."""
    if endpoint.mode == "chat" and not request.messages:
        return "the request has no messages; this endpoint is in chat mode"
    if endpoint.mode == "completions" and not request.prompt:
        return "the request has no prompt ids; this endpoint is in completions mode"
    sampling = request.sampling
    if endpoint.mode == "chat" and sampling.structured and sampling.schema is None:
        return "an endpoint in chat mode holds answers to a JSON schema alone, not to a choice or regex"
    return NOT_STEERED if sampling.steers_first else None


def size(request: Request) -> int:
    """Tokens a request may use, before anyone counted them."""
    said = sum(len(m.content) for m in request.messages) // CHARACTERS_PER_TOKEN
    return (len(request.prompt) or said) + request.sampling.max_tokens


def body(request: Request, endpoint: EndpointSettings, model: str) -> dict[str, Any]:
    """The JSON of one request."""
    sampling, chat = request.sampling, endpoint.mode == "chat"
    asked: dict[str, Any] = {
        "model": model,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        endpoint.max_tokens_field: sampling.max_tokens,
    }
    if chat:
        asked["messages"] = to_dicts(request.messages)
    else:
        # Servers that take ids are vLLM and its like; left unsaid, they would apply the model's own sampling defaults.
        penalty = sampling.repetition_penalty
        asked |= {"prompt": list(request.prompt), "return_token_ids": True, "top_k": -1, "repetition_penalty": penalty}
    if sampling.structured:
        asked |= {"response_format": _response_format(sampling)} if chat else {"structured_outputs": form(sampling)}
    if sampling.logprobs:
        asked |= {"logprobs": True, "top_logprobs": sampling.logprobs} if chat else {"logprobs": sampling.logprobs}
    optional = {
        "seed": sampling.seed,
        "stop": list(sampling.stop) or None,
        "stop_token_ids": None if chat else list(sampling.stop_ids) or None,
        "repetition_penalty": sampling.repetition_penalty if chat and sampling.repetition_penalty != 1.0 else None,
    }
    return asked | {key: value for key, value in optional.items() if value is not None} | endpoint.extra_body


def form(sampling: Sampling) -> dict[str, Any]:
    """What the answer is held to, by the names that vLLM and its server have for it."""
    schema = None if sampling.schema is None else json.loads(sampling.schema)
    given = {"json": schema, "choice": list(sampling.choice) or None, "regex": sampling.regex}
    return {name: value for name, value in given.items() if value is not None}


def _response_format(sampling: Sampling) -> dict[str, Any]:
    schema = _unlimited(json.loads(sampling.schema or "{}"))
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def _unlimited(schema: Any) -> Any:
    """A schema without limits on lengths: OpenAI's strict mode refuses one that has them."""
    if isinstance(schema, list):
        return [_unlimited(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _unlimited(value) for key, value in schema.items() if key not in ("maxLength", "maxItems")}


def check(answer: "httpx.Response", endpoint: EndpointSettings, model: str) -> None:
    """Raise what an HTTP status stands for: MayPassError, RefusedError, or StageError if no request can ever work."""
    status = answer.status_code
    if status < 400:
        return
    said = cleaned(" ".join(answer.text.split()), os.environ.get(endpoint.api_key_env))[:200]
    if status in HOPELESS:
        why = HOPELESS[status].format(key=endpoint.api_key_env)
        raise StageError(f"{endpoint.base_url} answers {status} for '{model}': {why} ({said})")
    if status in PASSING or status >= 500:
        raise MayPassError(f"the server answered {status} ({said})", _retry_after(answer))
    raise RefusedError(f"the server refused the request with {status} ({said})")


def read(request: Request, answer: "httpx.Response", endpoint: EndpointSettings) -> Answer:
    """The completion in an answer of status 200. Raises MayPassError where there is none to be read."""
    try:
        data = answer.json()
        choice, usage = data["choices"][0], data.get("usage") or {}
        text = choice["message"]["content"] if endpoint.mode == "chat" else choice["text"]
        ids, finish, reason = tuple(choice.get("token_ids") or ()), choice["finish_reason"], choice.get("stop_reason")
        counts = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
        alternatives = _logprobs(choice.get("logprobs")) if request.sampling.logprobs else ()
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise MayPassError(f"the server's answer is not readable ({type(error).__name__}: {error})") from error
    if finish == "length":
        done = Completion(request.key, text or "", ids, "length", counted=counts[1])
    elif finish == "stop" and text is not None:
        # Whatever stopped it but a string is the last id; an end of text is not named by the server.
        done = Completion(
            request.key, text, ids if isinstance(reason, str) else ids[:-1], "stop", reason, counted=counts[1]
        )
    else:
        return Answer(failed(request, f"the server ended the completion with '{finish}'"), data.get("model"), *counts)
    return Answer(replace(done, logprobs=alternatives), data.get("model"), *counts)


def _logprobs(given: Any) -> tuple[dict[str, float], ...]:
    """The alternatives at each token as a chat (`content`) or a completion (`top_logprobs`) tells them; none if it does not."""
    given = given if isinstance(given, dict) else {}
    if given.get("content"):
        places = [{one["token"]: one["logprob"] for one in place["top_logprobs"]} for place in given["content"]]
    else:
        places = given.get("top_logprobs") or []
    return tuple({str(token): float(value) for token, value in (place or {}).items()} for place in places)


def _retry_after(answer: "httpx.Response") -> float | None:
    """The pause a server asks for, in seconds, if it says so in seconds."""
    try:
        return max(0.0, float(answer.headers["retry-after"]))
    except (KeyError, ValueError):
        return None
