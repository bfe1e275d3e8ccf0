"""What a judge is asked: the words of a prompt, its own or a published one's, with the texts of a case in its slots.

Slots stand in braces, `{question}` or `{$question}`, under any name that a published prompt has for them (see `cases`). They are
filled in one pass, so that braces in an answer stay text.
"""

import importlib.util
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magpie_align.errors import ConfigError, StageError
from magpie_align.evaluation.judging.settings import JudgePrompt
from magpie_align.records import Message

if TYPE_CHECKING:
    from magpie_align.evaluation.judging.cases import Case

PACKAGE = "package"
"""The word that stands for the prompt in the installed alpaca-eval package."""

_SLOT = re.compile(r"\{\$?(\w+)\}")
_CHATML = re.compile(r"<\|im_start\|>(\w+)\n(.*?)<\|im_end\|>", re.DOTALL)


def messages(prompt: JudgePrompt, case: "Case") -> tuple[Message, ...]:
    """The chat that asks about one case. Raises StageError for a slot that it does not have."""

    def fill(match: "re.Match[str]") -> str:
        if match[1] not in case.slots:
            raise StageError(
                f"the judge's prompt wants {match[0]}, which question {case.key.question} does not have; it has: "
                f"{', '.join(sorted(case.slots))}"
            )
        return case.slots[match[1]]

    system = [Message("system", _SLOT.sub(fill, prompt.system))] if prompt.system else []
    return (*system, Message("user", _SLOT.sub(fill, prompt.user)))


def package_prompt() -> Path | None:
    """The AlpacaEval 2 prompt of the installed alpaca-eval package, found without importing it; None if it is not there."""
    spec = importlib.util.find_spec("alpaca_eval")
    folders = list(spec.submodule_search_locations or []) if spec else []
    file = Path(folders[0], "evaluators_configs/alpaca_eval_clf_gpt4_turbo/alpaca_eval_clf.txt") if folders else None
    return file if file and file.is_file() else None


def published_words(file: Path, entry: str | None = None) -> dict[str, Any]:
    """`system` and `user` from a published prompt's file: text (AlpacaEval's ChatML, WildBench's Markdown), Arena-Hard's YAML,
    or the `entry` of MT-Bench's JSON lines. Raises ConfigError where there is none."""
    text = file.read_text(encoding="utf-8")
    if file.suffix in (".yaml", ".yml"):
        return _from_yaml(file, text)
    if file.suffix == ".jsonl":
        entries = {line["name"]: line for line in map(json.loads, filter(str.strip, text.split("\n")))}
        if entry not in entries:
            raise ConfigError(f"{file} has no prompt '{entry}'; it has: {', '.join(entries)}")
        return {"system": entries[entry]["system_prompt"], "user": entries[entry]["prompt_template"]}
    parts = {role: said.strip() for role, said in _CHATML.findall(text)}
    return {"user": text} if not parts else {"system": parts.get("system"), "user": parts["user"]}


def _from_yaml(file: Path, text: str) -> dict[str, Any]:
    import yaml

    found = yaml.safe_load(text)
    template = found.get("prompt_template") if isinstance(found, dict) else None
    if not template:
        raise ConfigError(f"{file} has no prompt_template; name Arena-Hard's configuration of its judge")
    words = {"user": template[0] if isinstance(template, list) else template}
    return words | ({"system": found["system_prompt"]} if found.get("system_prompt") else {})
