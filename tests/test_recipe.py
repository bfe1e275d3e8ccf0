"""Recipes compose, are typed as a whole, and every bad one is refused with one clear sentence a problem."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from magpie_align.flow.graph import Node
from magpie_align.recipe import load, recipe_files, stage_class, stage_kinds
from magpie_align.records import TRAININGS
from magpie_align.training.settings import TrainingSettings
from tests.conftest import SMALL

Refused = Callable[..., list[str]]
NAME = SMALL.removeprefix("recipe=")


def nodes(*overrides: str, recipe: str = NAME) -> dict[str, Node]:
    return {node.name: node for node in load(recipe, list(overrides)).nodes}


@pytest.mark.parametrize("name", recipe_files())
def test_every_recipe_plans(name: str, workdir: Path) -> None:
    assert load(name, []).nodes


def test_the_kinds_that_train_are_listed() -> None:
    """Those who know a stage by its kind alone (cards, the report, prices) go by this list."""
    found = {kind for kind in stage_kinds() if issubclass(stage_class(kind), TrainingSettings)}
    assert found == {*TRAININGS, "reward_model"}


def test_an_unknown_variable_in_a_recipe_is_one_sentence(refused: Refused) -> None:
    (said,) = refused(SMALL, "description=${oc.env:NO_SUCH_VARIABLE}")
    assert "NO_SUCH_VARIABLE" in said


def test_a_change_downstream_leaves_what_is_upstream(workdir: Path) -> None:
    before, after = nodes(), nodes("stages.few.limit=5")
    changed = [name for name in before if before[name].fingerprint != after[name].fingerprint]
    assert changed == ["few"]


def test_a_change_upstream_reaches_all_downstream(workdir: Path) -> None:
    before, after = nodes(), nodes("stages.public.rows=301")
    changed = [name for name in before if before[name].fingerprint != after[name].fingerprint]
    assert changed == ["public", "some", "few"]


def test_names_and_speed_do_not_decide_content(workdir: Path) -> None:
    slow = nodes(recipe="quickstart")
    fast = nodes("jobs=2", "store=elsewhere", "engine.max_num_seqs=7", "stages.responses.chunk=10", recipe="quickstart")
    assert {n: node.fingerprint for n, node in slow.items()} == {n: node.fingerprint for n, node in fast.items()}


def test_seed_and_engine_are_inherited_unless_a_stage_has_its_own(workdir: Path) -> None:
    found = nodes(
        "seed=5",
        "stages.preferences.seed=6",
        "engine.kind=transformers",
        "+stages.responses.engine.max_model_len=64",
        recipe="quickstart",
    )
    assert found["base"].stage.seed == 5
    assert found["preferences"].stage.seed == 6
    engine = found["responses"].stage.engine
    assert (engine.kind, engine.max_model_len) == ("transformers", 64)


def test_a_recipe_file_anywhere_extends_one_by_name(workdir: Path) -> None:
    """One of its own folder, or one that comes with the package."""
    (workdir / "recipes").mkdir()
    (workdir / "recipes/ours.yaml").write_text("defaults: [quickstart, _self_]\nname: ours\njobs: 1\n")
    (workdir / "mine.yaml").write_text("defaults: [ours, _self_]\nname: mine\nstages: {base: {steps: 7}}\n")
    found = load("mine.yaml", [])
    assert (found.recipe.name, found.recipe.jobs) == ("mine", 1)
    assert nodes(recipe="mine.yaml")["base"].stage.steps == 7
    assert nodes(recipe="mine.yaml").keys() == nodes(recipe="quickstart").keys()


def test_how_a_training_is_spread_is_inherited_and_decides_nothing(workdir: Path) -> None:
    alone, spread = load("dpo_100k", []), load("dpo_100k", ["distributed.kind=fsdp2", "distributed.processes=4"])
    nodes = {node.name: node for node in spread.nodes}
    assert nodes["sft"].stage.distributed.kind == "fsdp2" and nodes["dpo"].stage.distributed.kind == "zero3"
    assert nodes["dpo"].stage.distributed.processes == 4
    assert [node.fingerprint for node in spread.nodes] == [node.fingerprint for node in alone.nodes]


def test_recipes_share_artifacts(workdir: Path) -> None:
    """Also those that push-down narrows: the second selection of dpo_100k wants no row that the first does not."""
    sft, dpo = nodes(recipe="sft_300k"), nodes(recipe="dpo_100k")
    shared = {name for name in sft if name in dpo and sft[name].fingerprint == dpo[name].fingerprint}
    assert shared == sft.keys() - {"report"}


@pytest.mark.parametrize(
    ("small", "large"),
    [
        ("air_3m", "air_300k"),
        ("air_300k", "air_dpo_100k"),
        ("pro_1m", "sft_300k"),
        ("llama31_pro_1m", "llama31_pro_300k"),
        ("llama31_pro_300k", "llama31_dpo_100k"),
        ("qwen2_pro_1m", "qwen2_pro_200k_chinese"),
        ("llama33_pro_1m", "llama33_pro_500k"),
        ("air_300k", "air_mt_300k"),
        ("pro_1m", "pro_mt_300k"),
        ("llama31_pro_300k", "llama31_pro_mt_300k"),
    ],
)
def test_a_dataset_is_made_of_what_it_is_derived_from(small: str, large: str, workdir: Path) -> None:
    inner, outer = nodes("pushdown=false", recipe=small), nodes("pushdown=false", recipe=large)
    assert {n: outer[n].fingerprint for n in inner} == {n: node.fingerprint for n, node in inner.items()}
    narrow = nodes(recipe=large)
    changed = {n for n in nodes(recipe=small) if narrow[n].fingerprint != nodes(recipe=small)[n].fingerprint}
    assert changed <= {"responses"}  # the raw data sets are made whole


def test_what_is_trained_on_is_what_later_turns_go_on_from(workdir: Path) -> None:
    sft, chats = nodes(recipe="sft_300k"), nodes(recipe="pro_mt_300k")
    assert chats["second"].inputs["selected"].fingerprint == sft["selected"].fingerprint


@pytest.mark.parametrize("name", [name for name in recipe_files() if name.startswith("baseline_")])
def test_a_baseline_differs_from_ours_in_its_data_alone(name: str, workdir: Path) -> None:
    ours, theirs = nodes(recipe="sft_300k"), nodes(recipe=name)
    assert theirs["eval_base"].fingerprint == ours["eval_base"].fingerprint
    for stage in ("sft", "eval_sft"):
        assert theirs[stage].stage.content() | {"data": "", "model": ""} == ours[stage].stage.content() | {
            "data": "",
            "model": "",
        }
    assert theirs["touched"].stage.tasks == theirs["eval_sft"].stage.tasks
    assert theirs["touched"].stage.data == theirs["sft"].stage.data


@pytest.mark.parametrize(("gpus", "sft", "dpo"), [(4, 8, 16), (8, 4, 8)])
def test_the_papers_batches_hold_on_any_number_of_gpus(
    gpus: int, sft: int, dpo: int, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4 x 1 x 8 and 4 x 2 x 16 as printed."""
    from magpie_align.training.fit import trl_arguments

    monkeypatch.setenv("WORLD_SIZE", str(gpus))
    found = nodes(recipe="dpo_100k")
    for name, steps in (("sft", sft), ("dpo", dpo)):
        stage = found[name].stage.model_copy(update={"optimizer": "adamw_torch"})  # the printed one needs a GPU
        assert trl_arguments(stage, workdir, 0)["gradient_accumulation_steps"] == steps


@pytest.mark.parametrize(
    ("name", "batch", "sft", "dpo"),
    [
        ("dpo_100k", 32, 2e-5, 5e-7),
        ("magpie_align_v01", 32, 2e-5, 1e-6),
        ("magpie_align_v02", 128, 2e-5, 8e-7),
        ("magpie_align_v03", 128, 2e-5, 7e-7),
    ],
)
def test_published_models_keep_their_settings(name: str, batch: int, sft: float, dpo: float, workdir: Path) -> None:
    found = nodes(recipe=name)
    one, two = found["sft"].stage, found["dpo"].stage
    assert (one.learning_rate, one.batch_size, one.max_length, one.packing, one.epochs) == (sft, batch, 8192, True, 2)
    assert (two.learning_rate, two.batch_size, two.max_length, two.beta, two.epochs) == (dpo, 128, 2048, 0.01, 1)


def test_unknown_recipe(refused: Refused) -> None:
    assert refused("plan", "recipe=quickstrat") == ["there is no recipe 'quickstrat'; did you mean 'quickstart'?"]


def test_unknown_recipe_file(refused: Refused) -> None:
    (said,) = refused("recipe=nowhere.yaml")
    assert said.startswith("there is no recipe file ") and said.endswith("nowhere.yaml")


def test_all_problems_at_once_each_with_its_path(refused: Refused) -> None:
    said = refused(
        SMALL, "stages.public.rwos=3", "stages.some.limit=many", "stages.few.data=soome", "++stages.new.use=selct"
    )
    assert said == [
        "stages.public.rwos: there is no such setting; did you mean 'rows'?",
        "stages.some.limit: input should be a valid integer, unable to parse string as an integer (given: 'many')",
        "stages.new.use: there is no stage kind 'selct'; did you mean 'select'?",
        "stages.few.data: needs the stage 'soome', which this recipe does not have; did you mean 'some'?",
    ]


def test_misspelt_key_at_the_top(refused: Refused) -> None:
    assert refused(SMALL, "sed=3") == ["sed: there is no such setting; did you mean 'seed'?"]


def test_misspelt_key_deep_inside(refused: Refused) -> None:
    (said,) = refused("recipe=quickstart", "stages.tags.tagger.sistem=x")
    assert said == "stages.tags.tagger.sistem: there is no such setting; did you mean 'system'?"


def test_misspelt_trl_key(refused: Refused) -> None:
    (said,) = refused("recipe=quickstart", "++stages.dpo.trl.label_smoothin=0.1")
    assert said == "stages.dpo: trl.label_smoothin: TRL has no such setting; did you mean 'label_smoothing'?"


def test_what_a_training_library_does_not_have(refused: Refused) -> None:
    said = refused(
        "recipe=quickstart",
        "stages.dpo.loss_type=simgoid",
        "stages.dpo.optimizer=adamw_tocrh",
        "stages.dpo.schedule=cosin",
        "++stages.dpo.adapter.r=8",
        "++stages.dpo.adapter.peft.use_rslra=true",
        "++stages.dpo.adapter.target=[lm_head]",
    )
    assert said == [
        "stages.dpo: optimizer: transformers has no 'adamw_tocrh'; did you mean 'adamw_torch'?",
        "stages.dpo: schedule: transformers has no 'cosin'; did you mean 'cosine'?",
        "stages.dpo: adapter.peft.use_rslra: peft has no such setting; did you mean 'use_rslora'?",
        "stages.dpo: adapter.target: an adapter on lm_head would not be trained, as TRL's losses read its weight; leave it out",
        "stages.dpo: loss_type: there is no loss 'simgoid'; did you mean 'sigmoid'?",
    ]


def test_a_way_to_spread_that_there_is_not(refused: Refused) -> None:
    (said,) = refused("recipe=sft_300k", "distributed.kind=zero9", "min_free_gb=0")
    assert said.startswith("stages.sft.distributed.kind: input should be 'ddp', 'zero1', 'zero2', 'zero3' or 'fsdp2'")
    (said,) = refused("recipe=sft_300k", "distributed.nodes=2", "min_free_gb=0")
    assert said == (
        "stages.sft: distributed.rendezvous: several machines need HOST:PORT of one of them, such as node1:29500"
    )


def test_a_rank_of_nothing(refused: Refused) -> None:
    (said,) = refused("recipe=quickstart", "++stages.dpo.adapter.r=0")
    assert said == "stages.dpo.adapter.r: input should be greater than 0 (given: 0)"


def test_missing_setting(refused: Refused) -> None:
    assert refused(SMALL, "stages.public.rows=???") == [
        "stages.public.rows: this setting has no default; give it a value"
    ]


def test_an_input_that_makes_something_else(refused: Refused) -> None:
    assert refused("recipe=quickstart", "stages.pairs.rewards=dpo") == [
        "stages.pairs.rewards: wants rows, but 'dpo' makes model"
    ]


def test_what_is_built_in_is_no_stage(refused: Refused, workdir: Path) -> None:
    assert nodes("stages.embeddings.model=ngram", recipe="quickstart")["embeddings"].inputs.keys() == {"instructions"}
    (said,) = refused("recipe=quickstart", "stages.embeddings.model=ngrams")
    assert said.startswith("stages.embeddings.model: needs the stage 'ngrams', ") and said.endswith(
        "did you mean 'ngram'?"
    )
    (said,) = refused("recipe=quickstart", "+stages.ngram={use: mini_public, rows: 9}")
    assert said == "stages.embeddings.model: 'ngram' is built in and also a stage of this recipe; rename that"


def test_an_embedder_that_is_no_embedder(refused: Refused, workdir: Path) -> None:
    (workdir / "causal").mkdir()
    (workdir / "causal/config.json").write_text("{}")
    (said,) = refused("recipe=quickstart", "stages.embeddings.model=./causal")
    assert said.startswith("stages.embeddings.model: there is no model in the folder './causal' (no modules.json)")


def test_a_cycle(refused: Refused) -> None:
    (said,) = refused(SMALL, "stages.some.data=few")
    assert said == "stages.some: the stages wait for each other in a circle: some -> few -> some"


def test_missing_model_folder(refused: Refused) -> None:
    (said,) = refused("recipe=quickstart", "stages.dpo.model=./nowhere")
    assert (
        said
        == "stages.dpo.model: there is no model in the folder './nowhere' (no config.json); give a folder, a hub id or a stage"
    )


def test_engine_that_cannot_do_what_the_stage_needs(refused: Refused) -> None:
    chat = "{kind: openai, endpoint: {base_url: 'http://localhost:1/v1', mode: chat}}"
    (said,) = refused("recipe=quickstart", f"+stages.instructions.engine={chat}")
    assert said.startswith(
        "stages.instructions: the openai engine in chat mode cannot complete a bare prefix, which this stage needs"
    )


def test_greedy_samples_are_refused(refused: Refused) -> None:
    (said,) = refused("recipe=quickstart", "stages.candidates.temperature=0")
    assert said.startswith("stages.candidates: samples is 5 at temperature 0")


def test_unwritable_store(refused: Refused) -> None:
    (said,) = refused(SMALL, "store=/proc/here")
    assert said.startswith("store: cannot write to '/proc/here' (") and said.endswith(
        "give another folder with store=FOLDER"
    )


def test_output_that_is_a_file(refused: Refused, workdir: Path) -> None:
    (workdir / "taken").write_text("")
    (said,) = refused(SMALL, "output=taken", "store=taken")
    assert said.startswith("store: cannot write to 'taken' (")


def test_models_that_are_not_here(refused: Refused) -> None:
    said = refused("recipe=sft_300k", "min_free_gb=0", "store=/tmp/none-of-this", "output=/tmp/none-of-this")
    assert len(said) == 6
    assert said[0].startswith(
        "stages.probe.model: the model 'meta-llama/Meta-Llama-3-70B-Instruct' is not on this machine"
    )


def test_yaml_that_does_not_parse(refused: Refused, workdir: Path) -> None:
    (workdir / "bad.yaml").write_text("stages: [unclosed\n")
    (said,) = refused("recipe=bad.yaml")
    assert said.startswith("bad.yaml: ")


def test_planning_imports_nothing_heavy_and_helping_imports_nothing_at_all() -> None:
    program = (
        "import sys; from magpie_align.cli import main; main({args}); "
        "print([m for m in {heavy} if m in sys.modules], file=sys.stderr)"
    )
    for args, heavy in (
        (["--help"], ["pydantic", "hydra", "rich", "torch"]),
        (
            ["plan", "recipe=sft_300k"],
            ["torch", "vllm", "transformers", "trl", "datasets", "pyarrow", "lm_eval", "faiss"],
        ),
    ):
        done = subprocess.run(
            [sys.executable, "-c", program.format(args=args, heavy=heavy)], capture_output=True, text=True, check=True
        )
        assert done.stderr.strip() == "[]"
