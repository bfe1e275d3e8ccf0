"""From what a judge wrote to a verdict. A text without one, or that names both sides, fails: it is never a tie.

labels     the name of the better answer and nothing else, or the probabilities of the two names as its first token
brackets   Arena-Hard's [[A>>B]], [[A>B]], [[A=B]], [[B>A]], [[B>>A]]: the last one counts
choice     WildBench's JSON with "choice": A++, A+, A=B, B+, B++
rating     MT-Bench's [[7]]; the last one counts
score      WildBench's JSON with "score": 7
"""

import math
import re

from magpie_align.engines.protocol import Completion
from magpie_align.evaluation.arena_hard import VERDICTS, parse_verdict
from magpie_align.evaluation.judging.cases import Verdict
from magpie_align.evaluation.judging.settings import CHOICES, JudgePrompt
from magpie_align.evaluation.mt_bench import parse_score

_CHOICE = re.compile(r'"choice"\s*:\s*"?\[?\s*(A\+\+|A\+|A=B|B\+\+|B\+)(?![\w+=])')
_SCORE = re.compile(r'"score"\s*:\s*"?\[?\s*(\d+(?:\.\d+)?)(?![\d.])')
_AROUND = " \t\r\n\"'`*.:()[]"


def read(done: Completion, prompt: JudgePrompt) -> Verdict:
    """The verdict in a judge's completion."""
    if done.finish == "error":
        return Verdict(None, failure=f"no answer: {done.error}")
    if prompt.reads == "labels":
        return _weighed(done, prompt.labels) if prompt.weighted else _named(done.text, prompt.labels)
    if done.finish == "length":
        return _fail(done.text, "cut: the judge did not end within its max_tokens")
    if prompt.reads == "brackets":
        return _bracketed(done.text, prompt.unanimous)
    if prompt.reads == "choice":
        return _chosen(done.text, prompt.unanimous)
    rating = parse_score(done.text) if prompt.reads == "rating" else _scored(done.text)
    if rating is None:
        return _fail(done.text, "unreadable: no rating from 1 to 10 in it")
    return Verdict(rating, text=done.text)


def _chosen(text: str, unanimous: bool) -> Verdict:
    found = _CHOICE.findall(text)
    if not found:
        return _fail(text, 'unreadable: no "choice" in it')
    if unanimous and len(set(found)) > 1:
        return _fail(text, "both sides: the text makes several choices")
    return Verdict(*CHOICES[found[-1]], text)


def _weighed(done: Completion, labels: tuple[str, str]) -> Verdict:
    """Seat A's share of the probability that the two labels have as the first token; one that is not listed has none."""
    if not done.logprobs:
        return _fail(done.text, "no log probabilities: the judge's server gave none")
    first = done.logprobs[0]
    shares = [sum(math.exp(value) for token, value in first.items() if token.strip() == label) for label in labels]
    if not sum(shares):
        return _fail(
            done.text, f"no log probabilities: neither {labels[0]} nor {labels[1]} is among the likeliest tokens"
        )
    return Verdict(shares[0] / sum(shares), text=done.text)


def _named(text: str, labels: tuple[str, str]) -> Verdict:
    word = text.strip(_AROUND)
    if word not in labels:
        return _fail(text, f"unreadable: it is neither {labels[0]} nor {labels[1]}")
    return Verdict(1.0 if word == labels[0] else 0.0, text=text)


def _bracketed(text: str, unanimous: bool) -> Verdict:
    verdict = parse_verdict(text, unanimous=unanimous)
    if verdict is None:
        both = unanimous and parse_verdict(text) is not None
        return _fail(
            text, "both sides: the text gives several verdicts" if both else "unreadable: no [[verdict]] in it"
        )
    share, decisive = VERDICTS[verdict]
    return Verdict(share, decisive, text)


def _scored(text: str) -> float | None:
    found = _SCORE.findall(text)
    return float(found[-1]) if found and 1 <= float(found[-1]) <= 10 else None


def _fail(text: str, failure: str) -> Verdict:
    return Verdict(None, text=text, failure=failure)
