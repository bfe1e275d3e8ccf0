"""What every local engine needs of a tokenizer: loading it, the ids that end a text, and honest decoding."""

from typing import TYPE_CHECKING, Any

from magpie_align.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def load_tokenizer(
    model_path: str, revision: str | None = None, trust_remote_code: bool = False
) -> "PreTrainedTokenizerBase":
    """The tokenizer of a model folder or hub id. Raises ConfigError with one sentence where there is none."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(model_path, revision=revision, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ConfigError(f"no tokenizer could be loaded from '{model_path}': {reason}") from error


def end_ids(tokenizer: "PreTrainedTokenizerBase", model_path: str, revision: str | None = None) -> tuple[int, ...]:
    """The ids that end any text of this model: its tokenizer's end of sequence, then its generation config's."""
    from transformers import GenerationConfig

    try:
        listed: Any = GenerationConfig.from_pretrained(model_path, revision=revision).eos_token_id
    except OSError:
        listed = None
    listed = [listed] if isinstance(listed, int) else list(listed or [])
    own = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
    return tuple(dict.fromkeys([*own, *listed]))


def decode(tokenizer: "PreTrainedTokenizerBase", ids: tuple[int, ...] | list[int], stop: str | None = None) -> str:
    """The text of generated ids without special tokens, up to the stop string that ended it."""
    text: Any = tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text[: text.find(stop)] if stop and stop in text else str(text)
