"""From text to token ids, where the template's own special tokens count and the same characters in a user's text do not.

A prompt is a list of parts: text that the template prints, and text that somebody said. As long as nobody's text spells
a special token, the joined text is tokenised as a whole, exactly as training and serving do. Else it is tokenised
stretch by stretch between the template's own special tokens, with special tokens switched off inside each stretch.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PROBES = ("Hello", " Hello", "\nHello", "2 words")


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a prompt; `said` text comes from a user, a model or a recipe and must not act as template."""

    text: str
    said: bool = False


class Encoder:
    """Turns parts into ids with one tokenizer. `template_text` is everything the template prints around said text."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", template_text: str) -> None:
        self._tokenizer: Any = tokenizer
        added = {token.content: (i, token) for i, token in tokenizer.added_tokens_decoder.items()}
        # An added token that is not special (Gemma's newlines, Qwen's <think>) is guarded only if the template uses it.
        self._markers = {
            text: (i, token)
            for text, (i, token) in added.items()
            if token.special or (text.strip() and text in template_text)
        }
        longest_first = sorted(self._markers, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        self._ids = {i for i, _ in self._markers.values()}
        self._anchor = self._find_anchor(next((text for text in longest_first if text in template_text), None))

    def encode(self, parts: list[Part]) -> tuple[int, ...]:
        """The ids of the parts joined. No special token is added, and none arises from said text."""
        own = sum(len(self._pattern.findall(part.text)) for part in parts if not part.said)
        whole = "".join(part.text for part in parts)
        if len(self._pattern.findall(whole)) == own:
            return tuple(self._ids_of(whole))
        return self._encode_apart(parts)

    def decode(self, ids: tuple[int, ...]) -> str:
        """The text of ids, special tokens included."""
        return str(self._tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))

    def special_ids(self, text: str) -> tuple[int, ...]:
        """The ids of the special tokens that `text` spells, in their order."""
        return tuple(self._markers[found][0] for found in self._pattern.findall(text))

    def before_special(self, text: str) -> str:
        """The stripped text in front of the first special token."""
        return self._pattern.split(text, maxsplit=1)[0].strip()

    def _encode_apart(self, parts: list[Part]) -> tuple[int, ...]:
        ids, stretch, left = [], "", None
        for part in parts:
            pieces = [part.text] if part.said else re.split(f"({self._pattern.pattern})", part.text)
            # re.split alternates plain text and the special tokens between it.
            for n, piece in enumerate(pieces):
                if n % 2 == 0:
                    stretch += piece
                    continue
                ids += [*self._plain(stretch, left, piece), self._markers[piece][0]]
                stretch, left = "", piece
        return (*ids, *self._plain(stretch, left, None))

    def _plain(self, text: str, left: str | None, right: str | None) -> list[int]:
        """The ids of one stretch between the special tokens `left` and `right`, which may swallow spaces beside them."""
        if left and self._markers[left][1].rstrip:
            text = text.lstrip()
        if right and self._markers[right][1].lstrip:
            text = text.rstrip()
        anchor = self._anchor if left else ""
        ids = self._ids_after(anchor, text)
        if self._ids.isdisjoint(ids):
            return ids
        # This vocabulary knows the spelled token as an ordinary piece too: cut it in two, so that it cannot match.
        halves = self._pattern.sub(lambda m: f"{m[0][0]}\0{m[0][1:]}", text).split("\0")
        return [i for n, half in enumerate(halves) for i in self._ids_after("" if n else anchor, half)]

    def _ids_of(self, text: str, **options: Any) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False, **options)["input_ids"] if text else []
        return ids

    def _ids_after(self, anchor: str, text: str) -> list[int]:
        with_anchor = self._ids_of(anchor + text, split_special_tokens=True) if text else []
        return with_anchor[len(self._ids_of(anchor)) :] if text else []

    def _find_anchor(self, marker: str | None) -> str:
        """Text to put before a stretch so that it is tokenised as after a special token.

        Some tokenizers mark the start of a text as a word boundary; a stretch cut out of its middle must not get that.
        """
        if marker is None:
            return ""
        for anchor in ("", "\n", "a", "."):
            if all(self._ids_of(marker + p)[1:] == self._ids_after(anchor, p) for p in PROBES):
                return anchor
        return ""
