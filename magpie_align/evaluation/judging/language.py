"""A language model as judge: served by an OpenAI-compatible endpoint, or run here by the engine for as long as it is needed."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from zlib import crc32

from magpie_align.engines.protocol import Completion, Engine, Request
from magpie_align.engines.settings import EngineSettings
from magpie_align.engines.stream import HOPELESS
from magpie_align.engines.template import Template
from magpie_align.engines.wire import size
from magpie_align.errors import StageError
from magpie_align.evaluation.judging.cache import Cache, content_key
from magpie_align.evaluation.judging.cases import Case, Tally, Verdict
from magpie_align.evaluation.judging.prompt import messages
from magpie_align.evaluation.judging.reading import read
from magpie_align.evaluation.judging.settings import JudgePrompt
from magpie_align.records import to_dicts


@dataclass
class LanguageJudge:
    """Asks `prompts[case.prompt]` about each case; only what the cache does not know, and the engine is opened only for that.

    `identity` is all that decides what the model says beside the prompt: its weights or its name on a server, and the engine's
    settings. Raises StageError before the first call if the calls may cost more than `max_cost`.
    """

    name: str
    identity: Mapping[str, Any]
    prompts: Mapping[str, JudgePrompt]
    template: Template | None
    """How prompts are written; None where an endpoint takes messages and writes them itself."""
    cache: Cache
    opened: Callable[[], AbstractContextManager[Engine]]
    engine: EngineSettings
    seed: int = 0
    max_cost: float | None = None
    tally: Tally = field(default_factory=Tally)

    def judge(self, cases: Iterable[Case]) -> Iterator[tuple[Case, Verdict]]:
        missing: dict[str, list[Case]] = {}
        for case in cases:
            key = self._key(case)
            kept = None if key in missing else self.cache.get(key)
            verdict = read(_completion(case, kept), self.prompts[case.prompt]) if kept else None
            if verdict is None or verdict.value is None:
                missing.setdefault(key, []).append(case)
                continue
            self.tally.cached += 1
            yield case, verdict
        if missing:
            self._estimate([alike[0] for alike in missing.values()])
            yield from self._ask(missing)
        self.tally.notes |= self.cache.account()

    def _ask(self, missing: Mapping[str, list[Case]]) -> Iterator[tuple[Case, Verdict]]:
        """One call for all cases that ask the very same, such as two games between equal answers."""
        streak, keys = 0, list(missing)
        with self.opened() as engine:
            before = _spent(engine)
            for done in engine.generate(self._request(missing[key][0], n) for n, key in enumerate(keys)):
                key, failed = keys[int(str(done.key))], done.finish == "error"
                after = _spent(engine)
                self.cache.log(failed, after[0] - before[0], done.tokens, after[1] - before[1])
                before = after
                self.tally.calls += 1
                if not failed:
                    self.cache.put(key, _kept(done))
                streak = streak + 1 if done.passing else 0
                if streak == HOPELESS:
                    raise StageError(f"{HOPELESS} calls of the judge failed in a row, the last: {done.error}")
                yield from ((case, read(done, self.prompts[case.prompt])) for case in missing[key])

    def _request(self, case: Case, number: int) -> Request:
        prompt = self.prompts[case.prompt]
        chat, sampling = messages(prompt, case), prompt.sampling
        if prompt.temperature:
            sampling = replace(sampling, seed=crc32(f"{self.seed}/{'/'.join(map(str, case.key))}".encode()) >> 1)
        if self.template is None:
            return Request(number, messages=chat, sampling=sampling)
        ending = replace(sampling, stop_ids=self.template.stop_ids, stop=self.template.response_stop)
        return Request(number, self.template.response_prompt(chat), sampling=ending)

    def _key(self, case: Case) -> str:
        prompt = self.prompts[case.prompt]
        said, how = to_dicts(messages(prompt, case)), asdict(prompt.sampling)
        drawn = [self.seed, *case.key] if prompt.temperature else case.key.repeat
        template = self.template.hash if self.template else None
        return content_key(judge=dict(self.identity), template=template, messages=said, sampling=how, drawn=drawn)

    def _estimate(self, cases: list[Case]) -> None:
        """Say what the calls may cost at most, before the first of them."""
        endpoint = self.engine.endpoint
        price_in, price_out = (endpoint.price_in, endpoint.price_out) if endpoint else (0.0, 0.0)
        prompts = [self.prompts[case.prompt] for case in cases]
        rest = sum(prompt.max_tokens for prompt in prompts)
        chats = zip(prompts, cases, strict=True)
        whole = sum(size(Request(0, messages=messages(p, case), sampling=p.sampling)) for p, case in chats)
        into = whole - rest
        cost = (into * price_in + rest * price_out) / 1e6
        self.tally.notes |= {"estimated_tokens_in": into, "at_most_tokens_out": rest, "estimated_cost": round(cost, 4)}
        print(
            f"{len(cases)} calls of the judge {self.name}: about {into} tokens in, at most {rest} out, at most {cost:.2f} in money",
            file=sys.stderr,
        )
        if self.max_cost is not None and cost > self.max_cost:
            raise StageError(
                f"{len(cases)} calls of the judge may cost {cost:.2f}, more than max_cost {self.max_cost:g}; none was made"
            )


def _spent(engine: Engine) -> tuple[int, float]:
    """Prompt tokens and money that an engine counted so far; a local one counts neither."""
    usage = getattr(engine, "usage", None)
    return (usage.prompt_tokens, usage.cost) if usage else (0, 0.0)


def _kept(done: Completion) -> dict[str, Any]:
    logprobs = [dict(place) for place in done.logprobs]
    return {"text": done.text, "finish": done.finish, "logprobs": logprobs, "tokens": done.tokens}


def _completion(case: Case, kept: Mapping[str, Any]) -> Completion:
    return Completion(
        case.key, kept["text"], finish=kept["finish"], counted=kept["tokens"], logprobs=tuple(kept["logprobs"])
    )
