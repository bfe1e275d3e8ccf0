"""Reward models behind one face: a chat in, a number out.

Sequence classifiers (FsfairX), classifiers with code of their own that comes with the model, and ArmoRM's gated objectives.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from magpie_align.engines.template import TemplateSettings
from magpie_align.errors import StageError
from magpie_align.records import Message
from magpie_align.settings import Runtime, Settings


class ScorerSettings(Settings):
    """How a reward model is loaded and what it is given."""

    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    trust_remote_code: bool = False
    max_length: int | None = Field(None, gt=0)
    """Tokens a chat may have; the model's own limit where left out."""
    over_long: Literal["skip", "cut"] = "skip"
    """A longer chat gets no reward, or is scored with the end of its answer cut off and marked so."""
    template: TemplateSettings = TemplateSettings()
    token_budget: Runtime[int] = Field(16384, gt=0, description="tokens a batch, padding included")


@dataclass(frozen=True)
class Chat:
    """A chat ready to be scored: its ids, and `ok`, `cut` or `too long` (which has no ids)."""

    ids: tuple[int, ...]
    status: str = "ok"


class Scorer:
    """A loaded reward model. Raises StageError where it does not load."""

    def __init__(self, model: Path, settings: ScorerSettings) -> None:
        import torch

        from magpie_align.engines.chats import Chats
        from magpie_align.engines.tokenizer import load_tokenizer

        self._torch = torch
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        tokenizer: Any = load_tokenizer(str(model), trust_remote_code=settings.trust_remote_code)
        self._chats = Chats(tokenizer, settings.template)
        self._model = _load(model, settings).to(self._device).eval()
        if hasattr(self._model, "gate_pattern"):
            open_chats = Chats(tokenizer, settings.template, generate=True)
            self._model.gate_pattern = open_chats.closing([Message("user", "")])
        self._config = self._model.config.get_text_config()
        self._pad = self._config.pad_token_id
        longest = getattr(self._config, "max_position_embeddings", None) or 1 << 20
        self._limit, self._cuts = min(settings.max_length or longest, longest), settings.over_long == "cut"

    def chat(self, instruction: str, response: str) -> Chat:
        """The chat of an instruction and its response, within the limit."""
        return self.dialogue([Message("user", instruction), Message("assistant", response)])

    def dialogue(self, said: Sequence[Message]) -> Chat:
        """A chat that ends with an answer, within the limit."""
        ids = self._chats.ids(said)
        if len(ids) <= self._limit:
            return Chat(ids)
        closing = self._chats.closing(said)
        bare = len(self._chats.ids([*said[:-1], Message("assistant", "")]))
        if not self._cuts or bare >= self._limit:
            return Chat((), "too long")
        return Chat(ids[: self._limit - len(closing)] + closing, "cut")

    def score(self, batch: list[tuple[int, ...]]) -> list[float]:
        """One number a chat."""
        torch, width = self._torch, max(map(len, batch))
        pad = self._pad_for(batch)
        ids = torch.tensor([[*ids, *[pad] * (width - len(ids))] for ids in batch], device=self._device)
        mask = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids in batch], device=self._device)
        with torch.inference_mode():
            out = self._model(input_ids=ids, attention_mask=mask)
        found = out if isinstance(out, torch.Tensor) else getattr(out, "score", None)
        found = out.logits if found is None else found
        found = found.reshape(len(batch), -1).float()
        if found.shape[1] != 1:
            raise StageError(f"the reward model gives {found.shape[1]} numbers for a chat where one is wanted")
        scores: list[float] = found[:, 0].tolist()
        return scores

    def scores(self, chats: Sequence[Chat], token_budget: int) -> Iterator[tuple[int, float]]:
        """(place, reward) of each chat that has ids, in batches of similar length; whatever order suits."""
        batch: list[int] = []
        places = sorted((i for i, chat in enumerate(chats) if chat.ids), key=lambda i: len(chats[i].ids))
        for place in [*places, None]:
            if batch and (place is None or len(chats[place].ids) * (len(batch) + 1) > token_budget):
                yield from zip(batch, self.score([chats[i].ids for i in batch]), strict=True)
                batch = []
            batch += [place] if place is not None else []

    def _pad_for(self, batch: list[tuple[int, ...]]) -> int:
        """The model's own padding; for a model without, an id that no chat here has, as it looks for the last other one."""
        if self._pad is not None:
            return int(self._pad)
        used = {i for ids in batch for i in ids}
        self._config.pad_token_id = next(i for i in range(self._config.vocab_size) if i not in used)
        return int(self._config.pad_token_id)


def _load(model: Path, settings: ScorerSettings) -> Any:
    """The network, every weight of it from the folder: transformers draws at random whatever head it does not find."""
    import torch
    from transformers import AutoModelForSequenceClassification

    said = json.loads((model / "config.json").read_text()).get("architectures") or [""]
    how: dict[str, Any] = {"dtype": getattr(torch, settings.dtype), "output_loading_info": True}
    try:
        if said[0] == "LlamaForRewardModelWithGating":
            from magpie_align.curation.gated import GatedReward

            network, found = GatedReward.from_pretrained(model, **how)
        else:
            how["trust_remote_code"] = settings.trust_remote_code
            network, found = AutoModelForSequenceClassification.from_pretrained(model, **how)
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        reason = str(error).strip().split("\n")[0]
        raise StageError(f"no reward model could be loaded from '{model}': {reason}") from error
    if found["missing_keys"]:
        raise StageError(
            f"'{model}' is no reward model as it stands: it has no weights {', '.join(sorted(found['missing_keys'])[:3])}; "
            f"its architecture is {said[0] or 'not said'}, and code of its own is run only with trust_remote_code: true"
        )
    return network
