"""The training loop: deterministic, learning, and indifferent to being killed."""

import pytest
import torch

from magpie_align.mini.batches import BatchSource, encode_chat
from magpie_align.mini.corpus import private_chat
from magpie_align.mini.model import ModelSize, new_model
from magpie_align.mini.muon import orthogonalise
from magpie_align.mini.pretrain import Schedule, fit, rate_at, train_base, train_teacher

TINY = ModelSize(hidden=32, layers=1, heads=1, intermediate=48)
SHORT = Schedule(steps=12, batch=4, warmup=3)


@pytest.fixture
def batches(tokenizer):
    return BatchSource(
        lambda i: encode_chat(tokenizer.backend_tokenizer, private_chat(0, i)), 4, tokenizer.pad_token_id, 0
    )


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(left, right):
    return all(torch.equal(left[name], right[name]) for name in left)


class Killed(Exception):
    pass


def test_killed_and_resumed_training_gives_the_uninterrupted_weights(tokenizer, batches, tmp_path):
    whole = new_model(tokenizer, TINY)
    fit(whole, batches, SHORT)

    def kill(done, total, loss):
        if done == 8:
            raise Killed

    checkpoint = tmp_path / "state.pt"
    with pytest.raises(Killed):
        fit(new_model(tokenizer, TINY), batches, SHORT, checkpoint, every=5, progress=kill)
    seen = []
    resumed = new_model(tokenizer, TINY, seed=9)
    fit(resumed, batches, SHORT, checkpoint, every=5, progress=lambda done, total, loss: seen.append(done))
    assert seen == list(range(6, 13))
    assert same(weights(whole), weights(resumed))


def test_seed_decides_the_weights(tokenizer):
    assert same(weights(new_model(tokenizer, TINY, 1)), weights(new_model(tokenizer, TINY, 1)))
    assert not same(weights(new_model(tokenizer, TINY, 1)), weights(new_model(tokenizer, TINY, 2)))


def test_batches_are_functions_of_the_step(tokenizer, batches):
    again = BatchSource(batches._sample, 4, tokenizer.pad_token_id, 0)
    for step in (17, 3, 18):
        assert torch.equal(batches(step).ids, again(step).ids)
    rows = [tuple(row.tolist()) for step in range(16) for row in batches(step).ids]
    assert len(rows) == 64
    assert ((batches(0).ids == tokenizer.pad_token_id) <= (batches(0).weights == 0)).all()


def test_the_rate_warms_up_holds_and_falls():
    schedule = Schedule(steps=100, warmup=10, hold=0.5)
    rates = [rate_at(schedule, step) for step in range(100)]
    assert rates[:10] == sorted(rates[:10]) and set(rates[10:50]) == {1.0}
    assert rates[50:] == sorted(rates[50:], reverse=True) and 0.02 <= rates[-1] < 0.03


def test_orthogonalised_matrices_have_singular_values_near_one():
    stack = torch.randn(3, 16, 40, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(stack))
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_base_and_teacher_are_plain_folders_that_learn(tokenizer, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    losses = []
    schedule = Schedule(steps=30, batch=8, warmup=5)
    train_base(tokenizer, tmp_path / "base", TINY, schedule, lambda done, total, loss: losses.append(loss))
    train_teacher(tmp_path / "base", tmp_path / "teacher", Schedule(steps=4, batch=4))
    assert losses[-1] < losses[0] - 0.5
    assert {"model.safetensors", "generation_config.json"} <= {file.name for file in (tmp_path / "teacher").iterdir()}
    assert not (tmp_path / "teacher" / "checkpoint.pt").exists()
    reloaded = AutoTokenizer.from_pretrained(tmp_path / "teacher")
    assert reloaded.chat_template == tokenizer.chat_template
    ends = GenerationConfig.from_pretrained(tmp_path / "teacher").eos_token_id
    assert ends == reloaded.convert_tokens_to_ids(["<|eot_id|>", "<|end_of_text|>"])
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "teacher").config.vocab_size == len(tokenizer)
