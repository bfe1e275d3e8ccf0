"""A reward model as judge of two answers, offline: the higher reward wins, by rules that are said."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scipy.special import expit

from magpie_align.evaluation.judging.cache import Cache, content_key
from magpie_align.evaluation.judging.cases import Case, Tally, Verdict
from magpie_align.evaluation.judging.settings import RewardRule
from magpie_align.records import Message, to_dicts

Dialogue = tuple[Message, ...]
Score = Callable[[Sequence[Dialogue]], Iterator[tuple[int, float | None]]]
"""(place, reward) of each chat, in any order; None where it cannot be scored."""


def decide(first: float, second: float, rule: RewardRule) -> Verdict:
    """The verdict on answers of these rewards."""
    gap = first - second
    text = f"rewards {first:.6g} and {second:.6g}"
    much = rule.decisive is not None and abs(gap) > rule.decisive
    if rule.weighted:
        return Verdict(float(expit(gap)), much, text)
    return Verdict(0.5 if abs(gap) <= rule.margin else float(gap > 0), much, text)


@dataclass
class RewardJudge:
    """Scores each answer once, whatever seat it takes, and only what the cache does not know."""

    name: str
    identity: Mapping[str, Any]
    rule: RewardRule
    cache: Cache
    score: Score
    tally: Tally = field(default_factory=Tally)

    def judge(self, cases: Iterable[Case]) -> Iterator[tuple[Case, Verdict]]:
        waiting: dict[Dialogue, list[Case]] = defaultdict(list)
        for case in cases:
            for dialogue in dict.fromkeys(_dialogues(case)):
                waiting[dialogue].append(case)
        rewards: dict[Dialogue, float | None] = {}
        for dialogue, reward in self._rewards(list(waiting)):
            rewards[dialogue] = reward
            for case in waiting[dialogue]:
                both = _dialogues(case)
                if all(one in rewards for one in both):
                    yield case, self._verdict([rewards[one] for one in both])

    def _rewards(self, wanted: Sequence[Dialogue]) -> Iterator[tuple[Dialogue, float | None]]:
        """Each chat with its reward, the kept ones first; None where it has none."""
        missing = []
        for dialogue in wanted:
            kept = self.cache.get(self._key(dialogue))
            if kept is None:
                missing.append(dialogue)
            else:
                self.tally.cached += 1
                yield dialogue, kept["reward"]
        for place, reward in self.score(missing) if missing else ():
            self.tally.calls += 1
            known = reward if reward is not None and math.isfinite(reward) else None
            if known is not None:
                self.cache.put(self._key(missing[place]), {"reward": known})
            yield missing[place], known

    def _verdict(self, found: Sequence[float | None]) -> Verdict:
        first, second = found
        if first is None or second is None:
            return Verdict(
                None, failure="no reward: the chat is too long for the reward model, or its reward is no number"
            )
        return decide(first, second, self.rule)

    def _key(self, dialogue: Dialogue) -> str:
        return content_key(judge=dict(self.identity), messages=to_dicts(dialogue))


def _dialogues(case: Case) -> tuple[Dialogue, ...]:
    return tuple((*case.chat, Message("assistant", answer)) for answer in case.answers)
