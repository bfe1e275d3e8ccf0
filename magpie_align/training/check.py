"""The gate before a training: what is proved on the very tokenizer and data, before anything dear.

bos        as many BOS as the chat template prints, and not two at the start
mask       the trained tokens, read back, are the assistant's texts with an end token each, and nothing else
template   the model as saved is asked with exactly the tokens that stood before the trained ones
text       nobody's text becomes a special token, whichever it spells
packing    packed, each sample has the loss that it has alone (see `magpie_align.training.packing_proof`)
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from magpie_align.errors import StageError
from magpie_align.training import data
from magpie_align.training.chat import Chat
from magpie_align.training.distributed import is_first
from magpie_align.training.frame import Messages
from magpie_align.training.packing_proof import packing_proof
from magpie_align.training.proofs import (
    NotTried,
    Rows,
    bos_proof,
    mask_proof,
    template_proof,
    text_proof,
    tokens_proof,
)
from magpie_align.training.settings import SFTSettings, TrainingSettings

FIRST = 50
EXAMPLES: list[tuple[int, Messages]] = [
    (0, [{"role": "user", "content": "What is 12 + 30?"}, {"role": "assistant", "content": "It is 42."}]),
    (1, [{"role": "user", "content": " Hi 😀\n"}, {"role": "assistant", "content": "如何？\n\n1. a\n2. b\n"}]),
]
"""Stand in for data that is not made yet."""


@dataclass(frozen=True)
class Proof:
    """One check: `problem` is the sentence of a failed one, `said` what was proved, or why it was not tried."""

    name: str
    said: str
    problem: str | None = None
    tried: bool = True

    def line(self) -> str:
        """As printed: `ok`, `FAILED` or `skipped`, the check's name and its sentence."""
        verdict = "FAILED" if self.problem else "ok" if self.tried else "skipped"
        return f"{verdict:<8}{self.name:<10}{self.problem or self.said}"


def first_conversations(rows: Path) -> list[tuple[int, Messages]]:
    """(row number, messages) of the first rows."""
    return list(islice(data.conversations(rows), FIRST))


def first_preferences(rows: Path) -> list[tuple[int, Messages]]:
    """(row number, messages) of the first pairs, each once with either answer."""
    pairs = islice(data.preferences(rows), FIRST)
    return [(number, [*prompt, *said]) for number, prompt, *both in pairs for said in both]


def gate(
    tokenizer: Any, conversations: list[tuple[int, Messages]], settings: TrainingSettings, model: Path | None
) -> None:
    """Prove everything or raise StageError with each sentence; those of `settings.skip_checks` are printed alone.

    Of several processes that train together the first one does.
    """
    if not is_first():
        return
    failed = []
    for proof in proofs(tokenizer, conversations, settings, model):
        print(f"check   {proof.line()}", flush=True)
        if proof.problem and proof.name not in settings.skip_checks:
            failed.append(f"check {proof.name}: {proof.problem} (`skip_checks: [{proof.name}]` trains nevertheless)")
    if failed:
        raise StageError("; ".join(failed))


def proofs(
    tokenizer: Any, conversations: list[tuple[int, Messages]], settings: TrainingSettings, model: Path | None
) -> Iterator[Proof]:
    """Every check. `model` holds the configuration of the network, for the shape of the small one that packing is tried on."""
    chat = Chat(tokenizer)
    rows: Rows = []
    for number, messages in conversations:
        try:
            rows.append((number, messages, chat.encode(messages)))
        except StageError as error:
            yield Proof("mask", "", f"row {number}: {error}")
            return
    proved: dict[str, Callable[[Chat, Rows], str]] = {
        "bos": bos_proof,
        "mask": mask_proof,
        "template": template_proof,
        "text": text_proof,
        "tokens": partial(tokens_proof, model),
    }
    if isinstance(settings, SFTSettings) and settings.packing:
        proved["packing"] = partial(_packing, model, settings.attention)
    for name, prove in proved.items():
        try:
            yield Proof(name, prove(chat, rows))
        except StageError as error:
            yield Proof(name, "", str(error))
        except NotTried as reason:
            yield Proof(name, str(reason), tried=False)


def _packing(model: Path | None, attention: str | None, _: Chat, rows: Rows) -> str:
    if model is None:
        raise NotTried("the configuration of the model is not at hand yet")
    return packing_proof(model, [encoded.ids for *_, encoded in rows], attention)
