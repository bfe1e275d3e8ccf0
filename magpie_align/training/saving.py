"""Saving what was trained: a plain folder that transformers and vLLM load, whatever the model was spread over."""

from pathlib import Path
from typing import Any

from magpie_align.errors import ConfigError
from magpie_align.training import adapter
from magpie_align.training.chat import Chat
from magpie_align.training.distributed import is_first

QUESTION = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


def save_model(trainer: Any, tokenizer: Any, out: Path) -> None:
    """The model as it is now, and its tokenizer; generation ends where the chat template ends an assistant turn.

    To be called in every process: the weights may be divided among them. The training can go on afterwards.
    """
    if hasattr(trainer.model, "generation_config"):
        trainer.model.generation_config.eos_token_id = list(stops(tokenizer))
        trainer.model.generation_config.pad_token_id = tokenizer.pad_token_id
    if trainer.is_fsdp_enabled:
        plugin = trainer.accelerator.state.fsdp_plugin
        before = plugin.state_dict_type
        plugin.set_state_dict_type("FULL_STATE_DICT")
    if adapter.is_adapted(trainer.model):
        adapter.save(trainer, out)
    else:
        trainer.save_model(str(out))
    if trainer.is_fsdp_enabled:
        plugin.set_state_dict_type(before)
    if is_first():
        tokenizer.save_pretrained(out)
        (out / "training_args.bin").unlink(missing_ok=True)
    trainer.accelerator.wait_for_everyone()


def stops(tokenizer: Any) -> tuple[int, ...]:
    """The ids that end a generation. A template out of which no prompt can be cut for Magpie can still be trained with."""
    from magpie_align.engines.template import derive

    try:
        return derive(tokenizer).stop_ids
    except ConfigError:
        (turn,) = Chat(tokenizer).shape(QUESTION)[0].turns
        return tuple(dict.fromkeys([tokenizer.eos_token_id, turn.end_id]))
