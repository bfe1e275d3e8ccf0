"""A training in several processes: settings, commands, proofs, and two real processes against one."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from magpie_align.errors import StageError
from magpie_align.training import distributed, fit, sft
from magpie_align.training.distributed import Distributed, zero_config
from magpie_align.training.processes import command, train_spread
from magpie_align.training.settings import SFTSettings
from tests.training import ranks
from tests.training.conftest import Write, chats

TWO = Distributed(kind="ddp", processes=2)


def test_what_is_wrong_is_said_at_plan() -> None:
    assert Distributed(processes=0, nodes=2, offload=True).problems() == [
        "distributed.processes: 0 is no number of processes; give 1 or more, or auto",
        "distributed.rendezvous: several machines need HOST:PORT of one of them, such as node1:29500",
        "distributed.offload: ddp divides nothing that could be offloaded; use zero2, zero3 or fsdp2",
    ]
    offloaded = SFTSettings(weights="bfloat16", distributed=Distributed(kind="zero3", offload=True)).refused("sft")
    assert offloaded == [
        "distributed.offload: DeepSpeed keeps what it offloads in float32, which `weights: bfloat16` rules out; set "
        "`weights: float32`, or `kind: fsdp2`"
    ]
    assert SFTSettings(trl={"deepspeed": "a.json"}).refused("sft") == [
        "trl.deepspeed cannot be set: set `distributed` in its place"
    ]


def test_it_is_no_part_of_the_fingerprint() -> None:
    assert SFTSettings(distributed=Distributed(kind="zero3", processes=8)).content() == SFTSettings().content()


def test_a_weight_is_what_the_settings_say_under_zero() -> None:
    """bfloat16 weights have no copy in float32, and float32 weights are computed with by autocast."""
    for weights, precision, pure, cast in (
        ("float32", "float32", False, False),
        ("float32", "bfloat16", False, True),
        ("bfloat16", "bfloat16", True, False),
    ):
        config = zero_config(SFTSettings(weights=weights, precision=precision, distributed=Distributed(kind="zero3")))
        assert config["torch_autocast"]["enabled"] is cast
        assert set(config["bf16"].values()) == {pure}
        assert {config[k] for k in ("train_batch_size", "gradient_clipping")} == {"auto"}


def test_the_command_of_several_machines(tmp_path: Path) -> None:
    way = Distributed(kind="zero3", processes=8, nodes=4, rendezvous="node1:29500")
    words = command(way, tmp_path)
    assert words[:2] == ["srun", "--ntasks-per-node=1"] and "--standalone" not in words
    assert {"--nnodes=4", "--nproc-per-node=8", "--rdzv-endpoint=node1:29500"} <= set(words)
    assert "--standalone" in command(Distributed(processes=8), tmp_path)


def test_a_training_that_is_not_spread_as_asked_is_stopped(
    model: Path, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What libraries do without a word: one process where several were started, no division where one was asked for."""
    from transformers import AutoModelForCausalLM

    settings = SFTSettings(batch_size=4, micro_batch_size=4, max_length=256, precision="float32", checkpoints=0)
    tokenizer = fit.load_tokenizer(model)
    samples = sft.data.prepare_sft(write(*chats(4)), sft.Chat(tokenizer), 256, tmp_path / "data").dataset
    for kind, world, said in (
        ("ddp", "2", "2 processes were started and accelerate sees 1, so each would train alone"),
        ("fsdp2", "1", "distributed.kind: fsdp2 was asked for and the model is wrapped as LlamaForCausalLM"),
        ("zero2", "1", "distributed.kind: zero2 was asked for and the model is wrapped as LlamaForCausalLM"),
    ):
        network = AutoModelForCausalLM.from_pretrained(model)
        trainer = sft.make_trainer(network, tokenizer, samples, settings, tmp_path / kind, 0)
        with monkeypatch.context() as patched, pytest.raises(StageError, match=said):
            patched.setenv("WORLD_SIZE", world)
            fit.run_trainer(trainer, samples, tmp_path / kind, ranks.quiet, Distributed(kind=kind))
    assert distributed.processes() == 1


def test_two_processes_train_as_one_does(model: Path, tmp_path: Path) -> None:
    """An SFT and a DPO, whose last step is short; four ways to divide, packed data and resuming at length: `make ranks`."""
    alone: dict[str, ranks.Curve] = {}
    given: dict[str, dict[str, Any]] = {}
    for way in ("sft", "dpo"):
        rows = ranks.rows(way, 4, tmp_path / f"{way}-rows")
        alone[way], _ = ranks.train(way, model, rows, tmp_path / way, ranks.settings(way, Distributed(processes=1)))
        out = tmp_path / f"{way}-2"
        given[way] = {"model": model, "rows": rows, "out": out, "work": tmp_path / f"{way}-2-work", "seed": 0}
        given[way] |= {"template": None, "settings": ranks.settings(way, TWO)}
    together = partial(ranks.both, sft_given=given["sft"], dpo_given=given["dpo"])
    figures = train_spread(together, settings=given["sft"]["settings"], work=tmp_path, progress=ranks.quiet)
    for way, before in alone.items():
        after = ranks.curve(tmp_path / f"{way}-2")
        assert len(before) == 4 and figures[way]["steps"] == 4
        assert ranks.apart(before, after) < 1e-4 and ranks.apart(before, after, "grad_norm") < 1e-3
        assert ranks.apart(before, after, "eval_loss") < 1e-4 and figures[way]["held out"]["step"] == 4
        if way == "dpo":
            assert [line["rewards/margins"] for line in after] == pytest.approx(
                [line["rewards/margins"] for line in before], rel=1e-3, abs=1e-5
            )
            assert ranks.apart(before, after, "eval_rewards/margins") < 1e-3
        expected, found = (ranks.logits(tmp_path / name, list(range(20, 60))) for name in (way, f"{way}-2"))
        assert (expected - found).abs().max() < 1e-3 * expected.abs().max()
    assert figures["sft"]["speed"]["memory_gb"] > 0 and figures["sft"]["speed"]["mfu"] is None


def test_more_processes_than_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(StageError, match="distributed.processes: 2 processes were asked for and 1 GPUs are visible"):
        train_spread(ranks.refuse, settings=SFTSettings(distributed=TWO), work=tmp_path, progress=ranks.quiet)


def test_what_fails_in_a_process_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="^the second process does not like it$"):
        train_spread(ranks.refuse, settings=SFTSettings(distributed=TWO), work=tmp_path, progress=ranks.quiet)
