"""What a tagger model is asked, and how its answer is read."""

import re
from functools import cached_property

from pydantic import field_validator

from magpie_align.curation.labels import LABELS
from magpie_align.errors import suggest
from magpie_align.records import Message
from magpie_align.settings import Settings


class Tagger(Settings):
    """What the tagger is asked and the form of its answer.

    `user` holds `{instruction}`; `answer` is the form of a good reply, with a column's name in braces where a label stands.
    """

    system: str | None = None
    user: str = "{instruction}"
    answer: str
    max_tokens: int = 64

    @field_validator("answer")
    @classmethod
    def _known_columns(cls, answer: str) -> str:
        columns = re.findall(r"{(\w+)}", answer)
        for column in columns:
            if column not in LABELS:
                raise ValueError(f"there is no tag '{column}'{suggest(column, LABELS)}; known are: {', '.join(LABELS)}")
        if not columns:
            raise ValueError("name at least one tag in braces, such as {input_quality}")
        return answer

    @cached_property
    def columns(self) -> list[str]:
        return re.findall(r"{(\w+)}", self.answer)

    def messages(self, instruction: str) -> list[Message]:
        """The chat that asks for the tags of one instruction."""
        system = [Message("system", self.system)] if self.system else []
        return [*system, Message("user", self.user.replace("{instruction}", instruction))]

    def parse(self, reply: str) -> dict[str, str] | None:
        """Column -> label, or None when the reply does not have the form or names a label that does not exist."""
        parts = re.split(r"{\w+}", self.answer)
        pattern = "(.+?)".join(re.escape(part) for part in parts)
        match = re.fullmatch(pattern, reply.strip())
        if not match:
            return None
        tags = {column: label.strip() for column, label in zip(self.columns, match.groups(), strict=True)}
        return tags if all(tags[c] in LABELS[c] for c in tags) else None
