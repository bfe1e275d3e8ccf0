"""The `check` verb: the gate of every training in a recipe, on what is made of its inputs so far, without starting anything."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from magpie_align.errors import ConfigError, MagpieError
from magpie_align.flow.graph import Node
from magpie_align.flow.stage import is_external
from magpie_align.training import check, fit
from magpie_align.training.chat import Chat
from magpie_align.training.frame import Messages
from magpie_align.training.settings import SFTSettings, TrainingSettings
from magpie_align.training.show import marked

if TYPE_CHECKING:
    from rich.console import Console

Locate = Callable[[str], Path]
"""The folder of an outside model's configuration and tokenizer."""
SHOWN = 2


def trainings(nodes: list[Node]) -> list[Node]:
    """The stages of a recipe that train on rows."""
    return [node for node in nodes if isinstance(node.stage, TrainingSettings)]


def examine(node: Node, locate: Locate, console: "Console") -> tuple[int, int]:
    """Print the checks of one training and its first samples; returns how many were made and how many failed.

    None is made where the tokenizer belongs to a model that is not made yet.
    """
    settings = node.stage
    assert isinstance(settings, TrainingSettings)
    console.rule(f"{node.name} ({node.kind})", align="left")
    folder = _tokenizer_folder(node, locate)
    if isinstance(folder, str):
        _say(console, f"skipped all: the tokenizer is that of '{folder}', which is not made yet")
        return 0, 0
    try:
        tokenizer = fit.load_tokenizer(folder, settings.pad_token)
        conversations, where = _conversations(node)
    except MagpieError as error:
        _say(console, f"FAILED  {error}")
        return 1, 1
    _say(console, f"data    {where}")
    made = failed = 0
    for proof in check.proofs(tokenizer, conversations, settings, _network_folder(node, locate)):
        _say(console, proof.line())
        made += proof.tried
        failed += bool(proof.problem) and proof.name not in settings.skip_checks
    if not failed:
        _show(Chat(tokenizer), conversations[:SHOWN], console)
    return made, failed


def _say(console: "Console", text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _show(chat: Chat, conversations: list[tuple[int, Messages]], console: "Console") -> None:
    colour = console.is_terminal
    how = "in green" if colour else "as {+…+}"
    for number, messages in conversations:
        _say(console, f"-- row {number}, trained tokens {how}")
        console.print(marked(chat, chat.encode(messages), colour=colour), soft_wrap=True)


def _conversations(node: Node) -> tuple[list[tuple[int, Messages]], str]:
    """The first conversations of its data and where they come from; examples of our own where it is not made yet."""
    name = str(getattr(node.stage, "data", ""))
    rows = node.inputs[name].artifact
    if not rows.done:
        return check.EXAMPLES, f"'{name}' is not made yet: {len(check.EXAMPLES)} examples stand in for it"
    first = check.first_conversations if isinstance(node.stage, SFTSettings) else check.first_preferences
    conversations = first(rows.data)
    return conversations, f"the first {len(conversations)} conversations of '{name}'"


def _model_of(node: Node) -> str:
    return str(getattr(node.stage, "model", ""))


def _tokenizer_folder(node: Node, locate: Locate) -> Path | str:
    """Where its tokenizer is: that of `template`, else of its model; the name of the stage that is to make it, if it is not made.

    A training hands its tokenizer on, so one behind a training that is not made yet is known all the same.
    """
    name = getattr(node.stage, "template", None) or _model_of(node)
    if is_external(name):
        return locate(name)
    parent = node.inputs[name]
    if parent.artifact.done:
        return parent.artifact.data
    return _tokenizer_folder(parent, locate) if isinstance(parent.stage, TrainingSettings) else name


def _network_folder(node: Node, locate: Locate) -> Path | None:
    """Where the configuration is of the model that is trained, or of the one that it is trained from; None if not at hand."""
    name = _model_of(node)
    if is_external(name):
        with suppress(ConfigError):
            return locate(name)
        return None
    parent = node.inputs[name]
    if parent.artifact.done:
        return parent.artifact.data
    return _network_folder(parent, locate) if isinstance(parent.stage, TrainingSettings) else None
