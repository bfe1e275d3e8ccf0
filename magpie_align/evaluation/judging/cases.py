"""What is put before a judge, what it says of it, and what a judge is."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from magpie_align.evaluation.judging.settings import Seats
from magpie_align.evaluation.outputs import Output
from magpie_align.evaluation.question_sets import Question
from magpie_align.records import Message


class Key(NamedTuple):
    """Names a case: the question, which of its games or turns (from 1), and which repeat of the whole judging (from 0)."""

    question: str
    part: int
    repeat: int


@dataclass(frozen=True, slots=True)
class Case:
    """One answer, or two in the seats A and B, to a chat that ends with the user's turn.

    `slots` are the texts that a prompt may ask for; `prompt` says which prompt, where a benchmark has several. `seat` is that of
    the evaluated model, where it does not stand alone.
    """

    key: Key
    chat: tuple[Message, ...]
    answers: tuple[str, ...]
    slots: Mapping[str, str]
    prompt: str = ""
    seat: Literal["A", "B", ""] = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of two answers, `value` is the share of a win that seat A has, 0..1, and `decisive` whether the better one is much better;
    of one answer it is a rating from 1 to 10. None: there is no verdict, and `failure` says why, its kind before the colon.
    """

    value: float | None
    decisive: bool = False
    text: str = ""
    failure: str | None = None


Verdicts = Mapping[Key, Verdict]


@dataclass
class Tally:
    """What the judging took so far, in this run."""

    calls: int = 0
    cached: int = 0
    notes: dict[str, object] = field(default_factory=dict)


class Judge(Protocol):
    """Gives a verdict on each case, in any order; one that fails is given too, and asked again by the next run."""

    name: str
    """Who judged, as a score's key says it."""
    tally: Tally

    def judge(self, cases: Iterable[Case]) -> Iterator[tuple[Case, Verdict]]:
        """Every case once."""
        ...


def drawn_first(question: Question, seed: int = 0) -> bool:
    """Whether the model, not the baseline, sits in seat A, where seats are drawn: half the questions, whoever plays."""
    return hashlib.sha256(f"{seed}/{question.id}/{question.text}".encode()).digest()[0] % 2 == 0


def seatings(seats: Seats) -> tuple[int, ...]:
    """The parts that a question is judged in: 1 has the model in the seat that is drawn, 2 in the other."""
    return (1,) if seats == "drawn" else (1, 2)


def sits_first(question: Question, part: int) -> bool:
    """Whether the model, not the baseline, sits in seat A in this one of the `seatings`."""
    return drawn_first(question) == (part == 1)


def pair(model: Output, baseline: Output, *, first: bool, part: int = 1, repeat: int = 0) -> Case:
    """Two answers to one question, the model's in seat A if `first`; under the names that published prompts have for them."""
    question = model.question
    answers = (model.answers[-1], baseline.answers[-1]) if first else (baseline.answers[-1], model.answers[-1])
    chat = question.chat(model.answers, len(question.turns) - 1)
    slots = asked(question, chat)
    for seat, number, answer in zip("AB", (1, 2), answers, strict=True):
        names = (
            f"output_{number}",
            f"answer_{number}",
            f"answer_{seat.lower()}",
            f"ANSWER_{seat}",
            f"candidate_{seat}",
        )
        slots |= dict.fromkeys(names, answer)
    return Case(Key(question.id, part, repeat), chat, answers, slots, seat="A" if first else "B")


def single(output: Output, turn: int, *, repeat: int = 0, prompt: str = "") -> Case:
    """The answer to one `turn` (from 0) alone; the turns before it are in the slots too."""
    question, answer = output.question, output.answers[turn]
    chat = question.chat(output.answers, turn)
    slots = asked(question, chat) | {"answer": answer, "model_output": answer}
    slots |= {f"answer_{n}": text for n, text in enumerate(output.answers[: turn + 1], 1)}
    return Case(Key(question.id, turn + 1, repeat), chat, (answer,), slots, prompt)


def asked(question: Question, chat: tuple[Message, ...]) -> dict[str, str]:
    """The slots on the question's side: the last turn under its usual names, all turns by number, the history, the checklist."""
    turns = [message.content for message in chat if message.role == "user"]
    names = ("question", "instruction", "user_query", "QUESTION", "prompt")
    history = "\n\n".join(f"{message.role.upper()}: {message.content}" for message in chat[:-1])
    references = {f"ref_answer_{n}": text for n, text in enumerate(question.references, 1)}
    return {
        **dict.fromkeys(names, turns[-1]),
        **{f"question_{n}": text for n, text in enumerate(turns, 1)},
        "history": history,
        "checklist": "\n".join(f"- {line}" for line in question.checklist),
        **references,
    }
