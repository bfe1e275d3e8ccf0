"""Question sets of AlpacaEval, Arena-Hard, WildBench and MT-Bench, and answers to them as others publish them.

question    one record of a published question set, whichever of the four it is
answered    one record of published answers: which question, whose answers
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from magpie_align.errors import StageError
from magpie_align.records import Message

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """What a model is asked: `turns` are the user's, one after another, behind a given `history` that ends with an answer.

    `id` is the benchmark's own; of AlpacaEval, which has none, the place in the set. `tags` are WildBench's task tags, the
    primary one first; `references` are MT-Bench's, one a turn.
    """

    id: str
    turns: tuple[str, ...]
    history: tuple[Message, ...] = ()
    category: str = ""
    tags: tuple[str, ...] = ()
    checklist: tuple[str, ...] = ()
    references: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """All that is asked, for telling question sets apart; of one plain turn, that turn."""
        return "\n\n".join([*(message.content for message in self.history), *self.turns])

    @property
    def opening(self) -> str:
        """The first message of the chat."""
        return self.history[0].content if self.history else self.turns[0]

    def chat(self, answers: Iterable[str], turn: int) -> tuple[Message, ...]:
        """The chat up to the user's `turn` (from 0), the turns before it answered by `answers`."""
        said = list(self.history)
        for asked, answer in zip(self.turns[:turn], answers, strict=False):
            said += [Message("user", asked), Message("assistant", answer)]
        return (*said, Message("user", self.turns[turn]))


def pack(question: Question) -> str:
    """A question as JSON text, for a column of a table."""
    return json.dumps(asdict(question), ensure_ascii=False)


def unpack(text: str) -> Question:
    """The question that `pack` wrote."""
    found = json.loads(text)
    found["history"] = tuple(Message(**message) for message in found["history"])
    fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in found.items()}
    return Question(**fields)


def question(record: Record, number: int, where: str) -> Question:
    """One question; `number` is its place in the set. Raises StageError where the record is of none of the four forms."""
    if "conversation_input" in record:
        return _wildbench(record, number, where)
    if "turns" in record:
        turns = [turn["content"] if isinstance(turn, Mapping) else turn for turn in record["turns"]]
        references = [text for text in record.get("reference") or () if isinstance(text, str)]
        return _checked(record, number, where, turns, references=tuple(references))
    if isinstance(record.get("prompt"), list):  # MT-Bench as the hub has it
        return _checked(record, number, where, record["prompt"], references=tuple(record.get("reference") or ()))
    column = next((name for name in ("instruction", "prompt", "question") if name in record), None)
    if column is None:
        raise StageError(
            f"{where} record {number} is no question of AlpacaEval (instruction), Arena-Hard (prompt), MT-Bench (turns) or "
            f"WildBench (conversation_input); it has the columns {', '.join(record)}"
        )
    return _checked(record, number, where, [record[column]])


def answered(record: Record, number: int, where: str) -> tuple[str, list[str], str]:
    """(id or text of the question, answers by turn, generator) of one published record. Raises StageError for other forms."""
    try:
        if "choices" in record:  # MT-Bench, and Arena-Hard before 2025
            turns = record["choices"][0]["turns"]
            answers = [turn["content"] if isinstance(turn, Mapping) else turn for turn in turns]
            return str(record["question_id"]), answers, str(record["model_id"])
        if "messages" in record:
            said = [m["content"] for m in record["messages"] if m["role"] == "assistant"]
            answers = [text["answer"] if isinstance(text, Mapping) else text for text in said]
            return str(record.get("uid") or record["question_id"]), answers, str(record["model"])
        output = record["output"]
        answers = [str(text) for text in (output if isinstance(output, list) else [output])]
        which = str(record["session_id"] if "session_id" in record else record["instruction"])
        return which, answers, str(record.get("generator") or record["model"])
    except (KeyError, IndexError, TypeError) as error:
        raise StageError(
            f"{where} record {number} is no published answer of AlpacaEval, Arena-Hard, MT-Bench or WildBench: it has no "
            f"{error}; its columns are {', '.join(record)}"
        ) from None


def _wildbench(record: Record, number: int, where: str) -> Question:
    said = [Message(turn["role"], turn["content"]) for turn in record["conversation_input"]]
    if not said or said[-1].role != "user":
        raise StageError(f"{where} record {number}: its conversation_input does not end with a user's turn")
    tags = (record.get("primary_tag"), *(record.get("secondary_tags") or ()))
    return _checked(
        record, number, where, [said[-1].content], tuple(said[:-1]), tuple(tag for tag in tags if tag),
        tuple(record.get("checklist") or ()),
    )  # fmt: skip


def _checked(
    record: Record,
    number: int,
    where: str,
    turns: list[Any],
    history: tuple[Message, ...] = (),
    tags: tuple[str, ...] = (),
    checklist: tuple[str, ...] = (),
    references: tuple[str, ...] = (),
) -> Question:
    if not turns or not all(isinstance(turn, str) and turn.strip() for turn in turns):
        raise StageError(f"{where} record {number} has an empty question")
    names = ("question_id", "uid", "session_id", "prompt_id")
    own = next((record[name] for name in names if record.get(name) is not None), number)
    category = str(record.get("category") or record.get("dataset") or "")
    return Question(str(own), tuple(turns), history, category, tags, checklist, references)
