"""The shape of a decoder, read from its `config.json`: how many weights it has, and how wide it is where a step needs memory."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from magpie_align.errors import ConfigError

_NEEDED = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "intermediate_size")


@dataclass(frozen=True)
class Shape:
    """Sizes are in elements. `query` and `key` are the widths of all heads together; `active` of the `experts` see each token,
    and a dense MLP is one expert."""

    hidden: int
    layers: int
    heads: int
    query: int
    key: int
    intermediate: int
    experts: int
    active: int
    vocabulary: int
    tied: bool
    biases: int
    norms: int

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Shape":
        """Raises ConfigError where a size that every decoder of this kind has is missing."""
        missing = [name for name in _NEEDED if not config.get(name)]
        if missing:
            kind = config.get("model_type", "unknown")
            raise ConfigError(
                f"the memory of a model of type '{kind}' cannot be told: its config.json has no {', '.join(missing)}"
            )
        hidden, heads = config["hidden_size"], config["num_attention_heads"]
        width = config.get("head_dim") or hidden // heads
        key = (config.get("num_key_value_heads") or heads) * width
        query, kind = heads * width, str(config.get("model_type"))
        biased = config.get("attention_bias") or kind == "qwen2"
        experts = config.get("num_local_experts") or config.get("num_experts") or 1
        return cls(
            hidden=hidden,
            layers=config["num_hidden_layers"],
            heads=heads,
            query=query,
            key=key,
            intermediate=config.get("moe_intermediate_size") or config["intermediate_size"],
            experts=experts,
            active=config.get("num_experts_per_tok", 1) if experts > 1 else 1,
            vocabulary=config["vocab_size"],
            tied=bool(config.get("tie_word_embeddings", kind.startswith("gemma"))),
            biases=query + 2 * key if biased else 0,
            norms=(4 if kind in ("gemma2", "gemma3_text") else 2) * hidden + (2 * width if kind == "qwen3" else 0),
        )

    @property
    def linear(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of the linear layers of one block; of an MLP of experts, all of them."""
        return self._linear(self.experts)

    @property
    def used(self) -> list[tuple[int, int]]:
        """Those of them that a token goes through."""
        return self._linear(self.active)

    def _linear(self, experts: int) -> list[tuple[int, int]]:
        h, f = self.hidden, self.intermediate
        attention = [(h, self.query), (h, self.key), (h, self.key), (self.query, h)]
        return attention + [(h, f), (h, f), (f, h)] * experts

    @property
    def block(self) -> int:
        """Weights of one block."""
        router = self.hidden * self.experts if self.experts > 1 else 0
        return sum(i * o for i, o in self.linear) + self.biases + self.norms + router

    @property
    def embedding(self) -> int:
        """Weights of the embedding and of the output head, which is the same matrix where they are tied."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        """All weights."""
        return self.layers * self.block + self.embedding + self.hidden

    def adapter_parameters(self, rank: int) -> int:
        """Weights of a LoRA adapter of this rank on every linear layer but the output head (Hu et al. 2021)."""
        return self.layers * sum(rank * (i + o) for i, o in self.linear)
