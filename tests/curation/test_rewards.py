"""Rewards are those of the model itself, one chat at a time; interrupted or not, they are the same to the last bit."""

import json
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from magpie_align.curation import rewards
from magpie_align.curation.rewards import SCHEMA, first_row, reward_row, write_rewards
from magpie_align.curation.scorer import Scorer, ScorerSettings
from magpie_align.errors import StageError
from magpie_align.flow.table import Shard, Table, parts, read_rows
from magpie_align.mini.model import ModelSize, new_model
from magpie_align.mini.tokenizer import build_tokenizer

PLAIN = ScorerSettings(dtype="float32")
SIZE = ModelSize(hidden=32, layers=2, heads=2, intermediate=64, positions=256)

GATED = '''
import torch
from torch import nn
from transformers import LlamaModel, LlamaPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class Weigher(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.logit_scale = nn.Parameter(torch.ones(1))
        width, objectives = config.gating_hidden_dim, config.num_objectives
        self.layers = nn.ModuleList([nn.Linear(config.hidden_size, width), nn.Linear(width, width), nn.Linear(width, objectives)])


class TinyGated(LlamaPreTrainedModel):
    """One chat at a time; the gate's place is counted by the test, and the score is not in the logits."""

    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaModel(config)
        self.regression_layer = nn.Linear(config.hidden_size, config.num_objectives, bias=False)
        self.reward_transform_matrix = nn.Parameter(torch.eye(config.num_objectives))
        self.gating = Weigher(config)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, **kwargs):
        found = []
        for ids, length in zip(input_ids, attention_mask.sum(1)):
            hidden = self.model(input_ids=ids[None, :length]).last_hidden_state[0]
            x = hidden[(ids == self.config.turn_end).nonzero()[0, 0]]
            for layer in self.gating.layers[:-1]:
                x = torch.clamp(layer(x), min=0)
            gates = torch.softmax(self.gating.layers[-1](x) / self.config.gating_temperature, 0) * self.gating.logit_scale
            found.append(gates @ (self.regression_layer(hidden[-1]) @ self.reward_transform_matrix))
        out = SequenceClassifierOutput(logits=torch.zeros(len(found), 3))
        out.score = torch.stack(found)
        return out
'''


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sequence classifier of one output, as reward models mostly are."""
    from transformers import AutoModelForSequenceClassification

    folder, head = tmp_path_factory.mktemp("model"), tmp_path_factory.mktemp("scorer")
    tokenizer = build_tokenizer(folder)
    new_model(tokenizer, SIZE).save_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1)
    model.config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(head)
    tokenizer.save_pretrained(head)
    return head


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A model of ArmoRM's shape, by the published name of that architecture or with code of its own."""
    import torch

    from magpie_align.curation.gated import ARCHITECTURE, GatedReward

    folder = tmp_path_factory.mktemp("gated")
    tokenizer = build_tokenizer(folder)
    config = new_model(tokenizer, SIZE).config
    config.update({"num_objectives": 5, "gating_temperature": 3, "gating_hidden_dim": 16, "gating_n_hidden": 2})
    config.update({"turn_end": tokenizer.eos_token_id, "tie_word_embeddings": False})
    torch.manual_seed(1)
    model = GatedReward(config)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    model.save_pretrained(folder)
    (folder / "tiny_gated.py").write_text(GATED)
    said = json.loads((folder / "config.json").read_text())

    def named(how: str) -> Path:
        own = {"auto_map": {"AutoModelForSequenceClassification": "tiny_gated.TinyGated"}} if how == "code" else {}
        name = {"architectures": ["TinyGated" if own else ARCHITECTURE]}
        (folder / "config.json").write_text(json.dumps(said | name | own))
        return folder

    return named


def rows(n: int = 120) -> list[dict[str, Any]]:
    return [
        {
            "uuid": f"{i:03d}",
            "sample": 0,
            "instruction": "What is " + "1 + " * (i % 9) + "2?",
            "response": "It is so. " * (i % 7 + 1),
            "response_status": "length" if i % 13 == 5 else "ok",
        }
        for i in range(n)
    ]


def attempt(
    model: Path, settings: ScorerSettings, data: list[dict[str, Any]], folder: Path, stop: int | None, chunk: int = 50
) -> None:
    table = Table(folder / "data", folder / "journal", len(data), SCHEMA, chunk)
    make = partial(reward_row, name="scorer")
    list(islice(write_rewards(Scorer(model, settings), data, table, make, token_budget=400), stop))
    if stop is None:
        table.close()


def score(
    model: Path,
    folder: Path,
    settings: ScorerSettings = PLAIN,
    data: list[dict[str, Any]] | None = None,
    chunk: int = 50,
) -> list[dict[str, Any]]:
    attempt(model, settings, rows() if data is None else data, folder, None, chunk)
    return list(read_rows(folder / "data"))


def by_hand(model: Path, row: dict[str, Any]) -> float:
    """As the card of a sequence classifier says: the whole chat through its template, one beginning of text, no batch."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    chat = [{"role": "user", "content": row["instruction"]}, {"role": "assistant", "content": row["response"]}]
    text = tokenizer.apply_chat_template(chat, tokenize=False).replace(tokenizer.bos_token, "")
    ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]])
    network = AutoModelForSequenceClassification.from_pretrained(model, dtype=torch.float32).eval()
    with torch.no_grad():
        return float(network(ids).logits[0, 0])


def test_interrupted_rewards_are_the_same_bits(scorer: Path, tmp_path: Path) -> None:
    score(scorer, tmp_path / "whole")
    for stop in (1, 3, 2, None):
        attempt(scorer, PLAIN, rows(), tmp_path / "broken", stop)
    whole, broken = (parts(tmp_path / name / "data") for name in ("whole", "broken"))
    assert [file.read_bytes() for file in whole] == [file.read_bytes() for file in broken]


def test_shards_in_any_order_are_the_same_bits(scorer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows and shards begin at other rows."""
    monkeypatch.setattr(rewards, "_WINDOW", 70)
    score(scorer, tmp_path / "whole")
    for shard in (Shard(2, 3), Shard(0, 3), Shard(1, 3)):
        folder = tmp_path / "parts"
        table = Table(folder / "data", folder / "journal", 120, SCHEMA, chunk=20, shard=shard)
        make = partial(reward_row, name="scorer")
        given = rows()[first_row(table) :]
        assert [*write_rewards(Scorer(scorer, PLAIN), given, table, make, token_budget=400)][-1] == table.size == 40
        table.close()
    score(scorer, tmp_path / "chunks", chunk=20)
    whole, chunks, shards = (list(read_rows(tmp_path / name / "data")) for name in ("whole", "chunks", "parts"))
    assert whole == chunks == shards


def test_a_reward_is_what_the_model_says_of_the_chat(scorer: Path, tmp_path: Path) -> None:
    found = score(scorer, tmp_path)
    for row, source in zip(found, rows(), strict=True):
        if source["response_status"] != "ok":
            assert (row["instruct_reward"], row["reward_status"]) == (None, "no response")
        elif source["uuid"] < "012":
            assert row["instruct_reward"] == pytest.approx(by_hand(scorer, source), abs=1e-5)
    assert {row["reward_status"] for row in found} == {"ok", "no response"}


def test_a_model_without_padding_is_scored_in_batches_all_the_same(scorer: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(scorer)
    model.config.pad_token_id = None
    model.save_pretrained(tmp_path / "unpadded")
    AutoTokenizer.from_pretrained(scorer).save_pretrained(tmp_path / "unpadded")
    padded, unpadded = score(scorer, tmp_path / "a"), score(tmp_path / "unpadded", tmp_path / "b")
    for one, other in zip(padded, unpadded, strict=True):
        assert one["instruct_reward"] == pytest.approx(other["instruct_reward"], abs=1e-5)


def test_gated_objectives_are_scored_as_the_models_own_code_does(gated: Callable[[str], Path], tmp_path: Path) -> None:
    own = score(gated("code"), tmp_path / "code", ScorerSettings(dtype="float32", trust_remote_code=True))
    ours = score(gated("architecture"), tmp_path / "ours")
    for one, other in zip(own, ours, strict=True):
        assert one["instruct_reward"] == pytest.approx(other["instruct_reward"], abs=1e-5)
    assert len({row["instruct_reward"] for row in ours}) > 50


def test_code_that_came_with_a_model_is_not_run_unasked(gated: Callable[[str], Path]) -> None:
    """Without its code transformers would make a plain classifier of it, with a random head."""
    sentence = "is no reward model as it stands: it has no weights score.weight; its architecture is TinyGated"
    with pytest.raises(StageError, match=sentence):
        Scorer(gated("code"), PLAIN)


def test_one_number_is_wanted(scorer: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    three = AutoModelForSequenceClassification.from_pretrained(scorer, num_labels=3, ignore_mismatched_sizes=True)
    three.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(scorer).save_pretrained(tmp_path)
    with pytest.raises(StageError, match="gives 3 numbers for a chat where one is wanted"):
        Scorer(tmp_path, PLAIN).score([(1, 2, 3)])


def test_what_is_too_long_is_skipped_or_cut_and_said(scorer: Path, tmp_path: Path) -> None:
    long = {"uuid": "a", "sample": 0, "instruction": "Say so.", "response": "It is so. " * 60}
    longer = long | {"uuid": "b", "response": long["response"] + "No. " * 60}
    asks = long | {"uuid": "c", "instruction": "Why? " * 200}
    data = [long, longer, asks, rows(1)[0]]
    skipped = score(scorer, tmp_path / "skipped", ScorerSettings(dtype="float32", max_length=100), data)
    assert [row["reward_status"] for row in skipped] == ["too long", "too long", "too long", "ok"]
    assert [row["instruct_reward"] is None for row in skipped] == [True, True, True, False]
    cut = score(scorer, tmp_path / "cut", ScorerSettings(dtype="float32", max_length=100, over_long="cut"), data)
    assert [row["reward_status"] for row in cut] == ["cut", "cut", "too long", "ok"]
    assert cut[0]["instruct_reward"] == cut[1]["instruct_reward"] is not None
    (own,) = score(scorer, tmp_path / "own", PLAIN, [asks])
    assert own["reward_status"] == "too long"  # the model itself takes 256 tokens


def test_a_cut_chat_still_ends_as_chats_do(scorer: Path) -> None:
    whole = Scorer(scorer, PLAIN).chat("Say so.", "It is so. " * 10)
    cut = Scorer(scorer, ScorerSettings(dtype="float32", max_length=40, over_long="cut")).chat(
        "Say so.", "It is so. " * 10
    )
    assert (len(cut.ids), cut.status, whole.status) == (40, "cut", "ok")
    assert cut.ids[:39] == whole.ids[:39] and cut.ids[-1] == whole.ids[-1]


def test_no_number_is_no_reward(scorer: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(scorer)
    torch.nn.init.constant_(model.score.weight, float("nan"))
    model.save_pretrained(tmp_path / "broken")
    AutoTokenizer.from_pretrained(scorer).save_pretrained(tmp_path / "broken")
    found = score(tmp_path / "broken", tmp_path, data=rows(4))
    assert {(row["instruct_reward"], row["reward_status"]) for row in found} == {(None, "not a number")}


def test_a_folder_without_a_model(scorer: Path, tmp_path: Path) -> None:
    build_tokenizer(tmp_path)
    (tmp_path / "config.json").write_text((scorer / "config.json").read_text())
    with pytest.raises(StageError, match="no reward model could be loaded from"):
        Scorer(tmp_path, PLAIN)
