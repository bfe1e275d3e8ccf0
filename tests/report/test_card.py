"""Cards: licences from the models' cards, words of the hub, and lineages told as recipes."""

import json
from pathlib import Path

import pytest
from huggingface_hub import DatasetCard

from magpie_align.report.card import table
from magpie_align.report.front import front_matter, size_category
from magpie_align.report.licences import Origin, licence_for, licence_of, origins
from magpie_align.report.lineage import lineage, recipe_of


def model(folder: Path, front: str) -> str:
    folder.mkdir(parents=True)
    (folder / "README.md").write_text(f"---\n{front}---\ntext\n")
    return str(folder)


def test_licences_are_read_from_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert licence_of(model(tmp_path / "a", "license: llama3\n")) == "llama3"
    assert licence_of(model(tmp_path / "b", "license: other\nlicense_name: house-rules\n")) == "house-rules"
    assert licence_of(model(tmp_path / "c", "tags: [x]\n")) is None
    assert licence_of(model(tmp_path / "d", "license: [unclosed\n")) is None
    assert licence_of("org/never-fetched") is None
    cache = tmp_path / "hub/models--org--name"
    model(cache / "snapshots/0123abc", "license: apache-2.0\n")
    (cache / "refs").mkdir()
    (cache / "refs/main").write_text("0123abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert licence_of("org/name") == "apache-2.0"


def test_the_data_has_the_licence_of_what_wrote_it() -> None:
    teacher, tagger = Origin("a/b", "responses", "llama3", True), Origin("c/d", "tags", None, False)
    assert licence_for([teacher, tagger], None) == ("llama3", "The terms of `a/b` apply.")
    assert licence_for([teacher, tagger], "mit")[0] == "mit"
    assert licence_for([teacher, Origin("e/f", "x", "mit", True)], None) == (
        "other",
        "It falls under several terms: llama3, mit (see below).",
    )
    licence, sentence = licence_for([teacher, Origin("e/f", "x", None, True)], None)
    assert (licence, sentence) == (
        "unknown",
        "unknown: the terms of `e/f` could not be read where this was made; look them up before use.",
    )
    assert licence_for([tagger], None)[0] == "unknown"


@pytest.mark.parametrize(
    ("rows", "words"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (300_000, "100K<n<1M"), (1_000_000, "1M<n<10M"), (10**12, "n>1T")],
)
def test_sizes_in_the_words_of_the_hub(rows: int, words: str) -> None:
    assert size_category(rows) == words


def test_front_matter_is_what_the_hub_reads() -> None:
    text = front_matter("A: title", "llama3", 5000, ["en", "de"], {"sharegpt": {"train": "sharegpt/train-*.parquet"}})
    data = DatasetCard(text).data
    assert (data.pretty_name, data.license, data.language, data.size_categories) == (
        "A: title",
        "llama3",
        ["en", "de"],
        ["1K<n<10K"],
    )
    assert data.to_dict()["configs"] == [
        {
            "config_name": "sharegpt",
            "data_files": [{"split": "train", "path": "sharegpt/train-*.parquet"}],
            "default": True,
        }
    ]


def test_tables_hold_any_text() -> None:
    assert table(["a", "b"], [[1234567, "x | y\nz"]]) == "| a | b |\n| --- | --- |\n| 1,234,567 | x \\| y z |"


def made(store: Path, name: str, kind: str, inputs: dict[str, str], **settings: object) -> Path:
    folder = store / name
    folder.mkdir()
    manifest = {"kind": kind, "settings": settings, "inputs": inputs, "summary": {"rows": 1}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_a_lineage_is_a_recipe_even_where_two_recipes_used_one_name(tmp_path: Path) -> None:
    made(tmp_path, "instructions-aaaaaaaa", "instructions", {"./teacher": "1f"}, model="./teacher")
    made(tmp_path, "instructions-bbbbbbbb", "instructions", {"org/x": "org/x"}, model="org/x")
    made(tmp_path, "select-cccccccc", "select", {"data": "instructions-aaaaaaaa"}, data="data", labels=[])
    made(
        tmp_path,
        "select-dddddddd",
        "select",
        {"data": "instructions-bbbbbbbb", "first": "select-cccccccc"},
        data="data",
        labels=["first"],
    )
    found = lineage({"last": tmp_path / "select-dddddddd"})
    assert [entry.name for entry in found] == ["data", "data_aaaaaa", "first", "last"]
    recipe = recipe_of(found, "x", lambda kind, settings: dict(settings))
    assert recipe["stages"] == {
        "data": {"use": "instructions", "model": "org/x"},
        "data_aaaaaa": {"use": "instructions", "model": "./teacher"},
        "first": {"use": "select", "data": "data_aaaaaa", "labels": []},
        "last": {"use": "select", "data": "data", "labels": ["first"]},
    }
    assert [(o.name, o.use, o.decides) for o in origins(found)] == [
        ("org/x", "data", True),
        ("./teacher", "data_aaaaaa", True),
    ]


def test_what_the_store_no_longer_holds_is_told(tmp_path: Path) -> None:
    folder = made(tmp_path, "select-cccccccc", "select", {"data": "instructions-aaaaaaaa"}, data="data")
    gone, kept = lineage({"last": folder})
    assert (gone.gone, gone.kind, gone.name, kept.gone) == (True, "instructions", "data", False)
    assert list(recipe_of([gone, kept], "x", lambda kind, settings: dict(settings))["stages"]) == ["last"]
