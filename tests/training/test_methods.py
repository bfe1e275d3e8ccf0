"""Each method on pairs against plain torch, and that micro batches do not decide what is trained."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from magpie_align.errors import StageError
from magpie_align.training import cpo, data, dpo, fit, kto, orpo, reward_model
from magpie_align.training.chat import Chat
from magpie_align.training.settings import (
    CPO_LOSSES,
    DPO_LOSSES,
    KTO_LOSSES,
    CPOSettings,
    DPOSettings,
    KTOSettings,
    ORPOSettings,
    TrainingSettings,
    unknown_losses,
)
from tests.training.conftest import Write, pairs
from tests.training.test_trainers import log_prob, network, quiet

STEPS, BATCH, RATE = 3, 8, 1e-3
PLAIN = {
    "learning_rate": RATE, "batch_size": BATCH, "max_length": 512, "precision": "float32", "schedule": "constant",
    "checkpoints": 0,
}  # fmt: skip
IN_ORDER = {"train_sampling_strategy": "sequential", "max_grad_norm": 0.0}
Loss = Callable[[Any, Any, Any], Any]
"""(policy, reference, the pairs of a step) -> the loss of the step."""


@pytest.fixture
def prepared(model: Path, write: Write, tmp_path: Path) -> Any:
    chat = Chat(fit.load_tokenizer(model))
    return data.prepare_dpo(write(*pairs(STEPS * BATCH)), chat, 512, tmp_path / "data").dataset


def logged(module: ModuleType, settings: TrainingSettings, model: Path, samples: Any, work: Path) -> list[float]:
    """The losses of the first steps as our trainer logs them."""
    (work / "data").mkdir(parents=True)
    trainer = module.make_trainer(network(model), fit.load_tokenizer(model), samples, settings, work, 0)
    trainer.args.logging_steps = 1
    fit.run_trainer(trainer, samples, work, quiet)
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def plain(loss_of: Loss, model: Path, steps: list[Any]) -> list[float]:
    """The losses of the same steps with nothing but torch."""
    import torch

    policy, reference = network(model).train(), network(model)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=RATE, weight_decay=0.0)
    losses = []
    for batch in steps:
        loss = loss_of(policy, reference, batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def in_order(samples: Any) -> list[Any]:
    return [samples.select(range(step * BATCH, (step + 1) * BATCH)) for step in range(STEPS)]


def moved(policy: Any, reference: Any, prompt: list[int], answer: list[int]) -> Any:
    """The log-ratio of an answer under the policy and the reference."""
    import torch

    with torch.no_grad():
        before = log_prob(reference, prompt, answer)
    return log_prob(policy, prompt, answer) - before


def ipo_loss(policy: Any, reference: Any, batch: Any) -> Any:
    """Azar et al. 2023, equation 17, with the mean over the tokens of an answer."""
    total = 0.0
    for pair in batch:
        ratio = {}
        for name in ("chosen_ids", "rejected_ids"):
            ratio[name] = moved(policy, reference, pair["prompt_ids"], pair[name]) / len(pair[name])
        total = total + (ratio["chosen_ids"] - ratio["rejected_ids"] - 1 / (2 * 0.5)) ** 2
    return total / len(batch)


def simpo_loss(policy: Any, _: Any, batch: Any) -> Any:
    """Meng et al. 2024, equation 6."""
    import torch

    total = 0.0
    for pair in batch:
        chosen, rejected = (
            log_prob(policy, pair["prompt_ids"], pair[name]) / len(pair[name])
            for name in ("chosen_ids", "rejected_ids")
        )
        total = total - torch.nn.functional.logsigmoid(2.0 * (chosen - rejected) - 1.0)
    return total / len(batch)


def likelihood(policy: Any, sequences: list[tuple[list[int], list[int]]]) -> Any:
    """The negative log-likelihood of the answers behind their prompts, the mean over all their tokens."""
    return -sum(log_prob(policy, *pair) for pair in sequences) / sum(len(answer) for _, answer in sequences)


def cpo_loss(policy: Any, _: Any, batch: Any) -> Any:
    """Xu et al. 2024, equations 3 to 5: preference without a reference, and the likelihood of the chosen answer."""
    import torch

    total = 0.0
    for pair in batch:
        chosen, rejected = (log_prob(policy, pair["prompt_ids"], pair[name]) for name in ("chosen_ids", "rejected_ids"))
        total = total - torch.nn.functional.logsigmoid(0.5 * (chosen - rejected))
    return total / len(batch) + likelihood(policy, [(pair["prompt_ids"], pair["chosen_ids"]) for pair in batch])


def orpo_loss(policy: Any, _: Any, batch: Any) -> Any:
    """Hong et al. 2024, equations 6 and 7; the likelihood is that of prompt and answer."""
    import torch

    total = 0.0
    for pair in batch:
        odds = []
        for name in ("chosen_ids", "rejected_ids"):
            mean = log_prob(policy, pair["prompt_ids"], pair[name]) / len(pair[name])
            odds.append(mean - torch.log1p(-torch.exp(mean)))
        total = total - 0.5 * torch.nn.functional.logsigmoid(odds[0] - odds[1])
    whole = [(pair["prompt_ids"][:1], pair["prompt_ids"][1:] + pair["chosen_ids"]) for pair in batch]
    return total / len(batch) + likelihood(policy, whole)


def kto_loss(policy: Any, reference: Any, batch: Any) -> Any:
    """Ethayarajh et al. 2024, equations 7 and 8; z_0 is the mean over the batch, of answers to other prompts."""
    import torch

    with torch.no_grad():
        far = [moved(policy, reference, s["prompt_ids"], s["KL_completion_ids"]) for s in batch]
        z0 = torch.stack(far).mean().clamp(min=0)
    total = 0.0
    for sample in batch:
        ratio = moved(policy, reference, sample["prompt_ids"], sample["completion_ids"])
        value = torch.sigmoid(0.5 * (ratio - z0 if sample["label"] else z0 - ratio))
        total = total + (1.5 if sample["label"] else 0.75) * (1 - value)
    return total / len(batch)


@pytest.mark.parametrize(
    ("module", "settings", "loss_of"),
    [
        (dpo, DPOSettings(**PLAIN, trl=IN_ORDER, micro_batch_size=4, beta=0.5, loss_type="ipo"), ipo_loss),
        (cpo, CPOSettings(**PLAIN, trl=IN_ORDER, micro_batch_size=4, beta=2, loss_type="simpo", margin=1), simpo_loss),
        (cpo, CPOSettings(**PLAIN, trl=IN_ORDER, micro_batch_size=2, beta=0.5), cpo_loss),
        (orpo, ORPOSettings(**PLAIN, trl=IN_ORDER, micro_batch_size=2, beta=0.5), orpo_loss),
    ],
    ids=["ipo", "simpo", "cpo", "orpo"],
)
def test_pairs_equal_plain_torch(
    module: ModuleType, settings: TrainingSettings, loss_of: Loss, model: Path, prepared: Any, tmp_path: Path
) -> None:
    """With micro batches of unequal lengths, of which none is the whole batch."""
    ours = logged(module, settings, model, prepared, tmp_path / "work")
    expected = plain(loss_of, model, in_order(prepared))
    assert ours == pytest.approx(expected, rel=2e-4, abs=1e-5)
    assert abs(expected[-1] - expected[0]) > 1e-3  # the steps did something


@pytest.mark.parametrize("micro", [2, 4, 8])
def test_kto_equals_plain_torch_with_any_micro_batch(micro: int, model: Path, prepared: Any, tmp_path: Path) -> None:
    settings = KTOSettings(
        **PLAIN, trl={"max_grad_norm": 0.0}, micro_batch_size=micro, beta=0.5, desirable_weight=1.5, undesirable_weight=0.75
    )  # fmt: skip
    half = prepared.select(range(STEPS * BATCH // 2))
    ours = logged(kto, settings, model, half, tmp_path / "work")
    samples = kto.unpair(half, BATCH, 0, tmp_path / "work" / "data" / "unpaired.arrow")
    expected = plain(kto_loss, model, in_order(samples))
    assert len(ours) == STEPS and ours == pytest.approx(expected, rel=2e-4, abs=1e-5)
    assert abs(expected[-1] - expected[0]) > 1e-3


def test_kto_samples_are_mixed_and_their_strangers_are_of_the_batch(prepared: Any, tmp_path: Path) -> None:
    samples = kto.unpair(prepared, BATCH, 0, tmp_path / "unpaired.arrow")
    assert len(samples) == 2 * len(prepared) and sum(samples["label"]) == len(prepared)
    for batch in (samples.select(range(n, n + BATCH)) for n in range(0, len(samples), BATCH)):
        answers, strangers = batch["completion_ids"][:], batch["KL_completion_ids"][:]
        assert strangers == answers[1:] + answers[:1]
        assert set(batch["label"]) == {True, False}
    by_row = {pair["row"]: pair for pair in prepared}
    for sample in samples:
        pair = by_row[sample["row"]]
        assert sample["completion_ids"] == pair["chosen_ids" if sample["label"] else "rejected_ids"]
        assert sample["prompt_ids"] == pair["prompt_ids"]


@pytest.mark.parametrize("loss", DPO_LOSSES)
def test_every_dpo_loss_is_one_of_trls(loss: str) -> None:
    import inspect

    from trl import DPOTrainer

    assert f'loss_type == "{loss}"' in inspect.getsource(DPOTrainer._compute_loss)


def test_the_losses_are_all_that_trl_has() -> None:
    import inspect

    from trl import DPOTrainer, KTOConfig
    from trl.experimental.cpo import CPOConfig

    assert inspect.getsource(DPOTrainer._compute_loss).count('if loss_type == "') == len(DPO_LOSSES)
    assert tuple(KTOConfig.__dataclass_fields__["loss_type"].metadata["choices"]) == KTO_LOSSES
    assert tuple(CPOConfig.__dataclass_fields__["loss_type"].metadata["choices"]) == CPO_LOSSES


def test_losses_are_added_up_and_smoothing_passes_to_trl(model: Path, prepared: Any, tmp_path: Path) -> None:
    few = prepared.select(range(BATCH))

    def first(name: str, **settings: Any) -> float:
        chosen = DPOSettings(**PLAIN, micro_batch_size=8, beta=0.5, **settings)
        return logged(dpo, chosen, model, few, tmp_path / name)[0]

    ipo, hinge = first("ipo", loss_type="ipo"), first("hinge", loss_type="hinge")
    both = first("both", loss_type=["ipo", "hinge"], trl={"loss_weights": [0.5, 2.0]})
    assert both == pytest.approx(0.5 * ipo + 2 * hinge, rel=1e-5)
    assert first("robust", loss_type="robust", trl={"label_smoothing": 0.1}) == pytest.approx(0.6931, rel=1e-3)


def test_an_unknown_loss_is_refused_with_a_suggestion() -> None:
    assert unknown_losses(["sigmoid", "ipoo"], DPO_LOSSES) == [
        "loss_type: there is no loss 'ipoo'; did you mean 'ipo'?"
    ]
    assert unknown_losses(["zzz"], KTO_LOSSES) == [
        "loss_type: there is no loss 'zzz'; known are: kto, apo_zero_unpaired"
    ]


def test_losses_within_a_micro_batch_put_its_size_into_the_fingerprint() -> None:
    assert "micro_batch_size" not in DPOSettings(loss_type="ipo").content()
    assert DPOSettings(loss_type=["sigmoid", "sft"], micro_batch_size=3).content()["micro_batch_size"] == 3


@pytest.mark.parametrize("module", [kto, orpo, cpo], ids=lambda m: m.__name__.rpartition(".")[2])
def test_a_whole_training(module: Any, model: Path, write: Write, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    kinds: dict[str, type[TrainingSettings]] = {"kto": KTOSettings, "orpo": ORPOSettings, "cpo": CPOSettings}
    name = module.__name__.rpartition(".")[2]
    settings = kinds[name](batch_size=4, micro_batch_size=2, precision="float32", checkpoints=1)
    out, work = tmp_path / "out", tmp_path / "work"
    figures = module.train(model, write(*pairs(8)), out, work, settings, seed=0, progress=quiet)
    assert figures["pairs"] == 8 and figures["steps"] == (4 if name == "kto" else 2) and figures["loss"] > 0
    assert AutoModelForCausalLM.from_pretrained(out).config.vocab_size > 0


@pytest.mark.parametrize("module", [kto, orpo, cpo], ids=lambda m: m.__name__.rpartition(".")[2])
def test_a_loss_that_is_no_number_names_its_pair(module: Any, model: Path, prepared: Any, tmp_path: Path) -> None:
    """The embedding is made not a number wherever one answer stands in the batch."""
    import torch

    kinds: dict[str, type[TrainingSettings]] = {"kto": KTOSettings, "orpo": ORPOSettings, "cpo": CPOSettings}
    name = module.__name__.rpartition(".")[2]
    settings = kinds[name](batch_size=2, micro_batch_size=2, precision="float32", checkpoints=0)
    (tmp_path / "work" / "data").mkdir(parents=True)
    net = network(model)
    trainer = module.make_trainer(net, fit.load_tokenizer(model), prepared, settings, tmp_path / "work", 0)
    bad = torch.tensor(prepared[5]["prompt_ids"] + prepared[5]["rejected_ids"])

    def poisoned(_: Any, given: Any, output: Any) -> Any:
        whole = given[0][:, : len(bad)]
        return output * torch.nan if whole.shape[1] == len(bad) and (whole == bad).all(1).any() else output

    net.get_input_embeddings().register_forward_hook(poisoned)
    with pytest.raises(
        StageError, match=r"the loss is nan at step \d+, on the rows (\d+, )*5(, \d+)* of its data; look"
    ):
        fit.run_trainer(trainer, prepared, tmp_path / "work", quiet)


@pytest.mark.parametrize("train", [dpo.train, kto.train, orpo.train, cpo.train, reward_model.train])
def test_a_base_models_template_must_be_named(train: Any, model: Path, write: Write, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = None
    base = tmp_path / "base"
    network(model).save_pretrained(base)
    tokenizer.save_pretrained(base)
    given = (base, write(*pairs(2)), tmp_path / "out", tmp_path / "work", DPOSettings())
    with pytest.raises(StageError, match="has no chat template; name a model whose template to use with `template:`"):
        train(*given, seed=0, progress=quiet)
    with pytest.raises(StageError, match="holds no preference pairs; look at the stage that made them"):
        train(*given[:1], _empty(tmp_path), *given[2:], template=model, seed=0, progress=quiet)


def _empty(folder: Path) -> Path:
    import pyarrow as pa

    from magpie_align.flow.table import write_rows

    turns = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    schema = pa.schema([(name, turns) for name in ("prompt", "chosen", "rejected")])
    write_rows(folder / "empty", schema.empty_table())
    return folder / "empty"
