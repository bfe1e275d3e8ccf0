"""Making generated text storable and printable, and saying what was done; what somebody meant to write is never cut.

Only characters that no reader sees are touched. Lines, code, several questions in one text and words such as "assistant" stay;
a text that is no use is marked by its row's status, not shortened.
"""

import re
from dataclasses import dataclass

from magpie_align.engines.protocol import Completion

_SURROGATES = re.compile("[\ud800-\udfff]")
_NEWLINES = re.compile("\r\n?|[\x85\u2028\u2029]")
# Control characters but tab and newline; marks that turn the direction of text; a byte-order mark; noncharacters.
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ufdd0-\ufdef\ufffe\uffff]")

RULES = (("surrogates", _SURROGATES, "\ufffd"), ("newlines", _NEWLINES, "\n"), ("controls", _CONTROLS, ""))
"""Name of the edit, what it finds, what it writes instead; applied in this order, then outer spaces go (`spaces`)."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text and the names of the edits that changed it."""

    text: str
    edits: tuple[str, ...]


def sanitise(raw: str) -> Text:
    """The text as it is stored; sanitising it again changes nothing."""
    text, edits = raw, []
    for name, pattern, instead in RULES:
        new = pattern.sub(instead, text)
        if new != text:
            edits.append(name)
        text = new
    if text.strip() != text:
        edits.append("spaces")
    return Text(text.strip(), tuple(edits))


def storable(raw: str) -> str:
    r"""The raw text in a form that files can hold: lone surrogates, and nothing else, are spelled as `\ud800`."""
    return raw.encode("utf-8", "backslashreplace").decode()


def status(done: Completion, text: str, max_characters: int | None = None) -> str:
    """`ok`, or why this is no use: `empty`, `length` (cut at the token limit), `too long` (in characters), `error: ...`."""
    if done.finish == "error":
        return f"error: {done.error}"
    if done.finish == "length":
        return "length"
    if max_characters is not None and len(text) > max_characters:
        return "too long"
    return "ok" if text else "empty"
