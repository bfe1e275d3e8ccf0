"""The verb push, against a hub on this machine: it shows before it sends, and what it sent loads from there."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from magpie_align.cli import main
from tests.report.hub import Hub, serve

RECIPE = """
name: published
stages:
  public: {use: mini_public, rows: 60}
  split: {use: split, data: public, sizes: {test: 10}}
  base: {use: mini_base, steps: 1}
  data: {use: release, data: public, split: split, title: A set, licence: mit, push: org/some-set}
  model: {use: model_release, model: base, title: A model, licence: mit, push: org/some-model}
"""
TOKEN = "hf_" + "x" * 30
LOAD = """
from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
found = load_dataset("org/some-set", "messages")
print({name: rows.num_rows for name, rows in found.items()}, found["train"][0]["messages"][0]["role"])
model, tokenizer = (kind.from_pretrained("org/some-model") for kind in (AutoModelForCausalLM, AutoTokenizer))
chat = tokenizer.apply_chat_template([{"role": "user", "content": "Add 1 and 2."}], return_tensors="pt", return_dict=True)
print(model.num_parameters(), model.generate(**chat, max_new_tokens=3).shape[0])
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    server = serve(hub)
    yield hub
    server.shutdown()


def python(folder: Path, hub: Hub, *words: str) -> "subprocess.CompletedProcess[str]":
    home = {"HF_HOME": str(folder / "home"), "HF_ENDPOINT": hub.address, "HF_TOKEN": TOKEN}
    # Xet is not spoken here: large files go by LFS.
    online = {"HF_HUB_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    environment = os.environ | home | online
    return subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True)


def test_it_shows_first_then_sends_and_what_it_sent_loads(
    workdir: Path, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    (workdir / "published.yaml").write_text(RECIPE)
    command = ["-m", "magpie_align", "push", "recipe=published.yaml"]
    assert main(command[2:]) == 2
    assert "error: data, model: not made yet; run the recipe with these settings" in capsys.readouterr().err
    assert python(workdir, hub, "-m", "magpie_align", "recipe=published.yaml").returncode == 0
    shown = python(workdir, hub, *command)
    assert shown.returncode == 0, shown.stderr
    assert "data: dataset org/some-set, private, licence mit, " in shown.stdout and "README.md" in shown.stdout
    assert "model: model org/some-model, private, licence mit, " in shown.stdout and "model.safetensors" in shown.stdout
    assert shown.stdout.endswith("nothing was sent; the same command with --yes sends it\n")
    assert hub.tokens == set() and hub.repos == {}  # nothing was even asked

    sent = python(workdir, hub, *command, "--yes")
    assert sent.returncode == 0, sent.stderr
    assert f"sent: {hub.address}/datasets/org/some-set\nsent: {hub.address}/org/some-model" in sent.stdout
    for name, made in (("datasets/org/some-set", "release"), ("models/org/some-model", "model_release")):
        (folder,) = workdir.glob(f"store/{made}-*/data")
        files = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
        assert hub.repos[name].private and hub.repos[name].files == files
    assert 'load_dataset("org/some-set", "messages")' in files_text(hub, "datasets/org/some-set")
    assert 'pipeline("text-generation", "org/some-model")' in files_text(hub, "models/org/some-model")

    assert f"Bearer {TOKEN}" in hub.tokens
    left = [file for file in workdir.rglob("*") if file.is_file() and TOKEN.encode() in file.read_bytes()]
    assert left == [] and TOKEN not in sent.stdout + sent.stderr

    loaded = python(workdir, hub, "-c", LOAD)
    assert loaded.returncode == 0, (loaded.stderr, hub.unknown)
    rows, model = loaded.stdout.splitlines()[-2:]
    assert rows == "{'train': 50, 'test': 10} user" and model.endswith(" 1")


def files_text(hub: Hub, name: str) -> str:
    return hub.repos[name].files["README.md"].decode()


def test_a_recipe_without_a_place_to_push_to_says_so(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workdir / "published.yaml").write_text(
        RECIPE.replace(", push: org/some-set", "").replace(", push: org/some-model", "")
    )
    assert main(["push", "recipe=published.yaml", "--yes"]) == 2
    assert "error: no stage of this recipe says where to push: name one of use: release" in capsys.readouterr().err
