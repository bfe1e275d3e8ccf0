"""Which configuration stands behind the model that a stage names: a hub id's, a folder's, or that of the stage that makes it."""

from magpie_align.flow.graph import Node
from magpie_align.flow.stage import is_external
from magpie_align.pricing.shapes import Config, config_of


def config_behind(node: Node, model: str) -> Config | None:
    """None where it is not known before the stage that makes the model has run, or without a network."""
    if is_external(model):
        return config_of(model)
    maker = node.inputs.get(model)
    if maker is None:
        return None
    if maker.artifact.done and (maker.artifact.data / "config.json").is_file():
        return config_of(str(maker.artifact.data))
    if maker.kind == "mini_base":
        return _miniature()
    trained_from = getattr(maker.stage, "model", getattr(maker.stage, "base", None))
    return config_behind(maker, trained_from) if isinstance(trained_from, str) else None


def _miniature() -> Config:
    from magpie_align.mini.model import ModelSize

    size = ModelSize()
    return {
        "num_hidden_layers": size.layers,
        "hidden_size": size.hidden,
        "num_attention_heads": size.heads,
        "intermediate_size": size.intermediate,
        "vocab_size": 512,
        "tie_word_embeddings": True,
    }
