"""Sanitising: everything somebody meant to write stays; what no file or reader can take goes, and is named."""

import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie_align.engines.protocol import Completion
from magpie_align.synthesis.sanitise import sanitise, status, storable

KEPT = [
    "Write a poem.\n\nIt should rhyme.\n\n1. four lines\n2. about rain",
    "What does this print?\n```python\ndef f(x):\n\treturn x\n\nprint(f(1))\n```",
    "Who was Ada Lovelace? When did she live? Why is she known?",
    "Write a job advertisement for a shop assistant.\n\nassistant\n\nis the word to repeat in it.",
    "What does <|eot_id|> stand for, and <|im_start|>assistant?",
    "Was heißt 👩‍👩‍👧 auf Arabisch? مرحبا",
    "# Heading\n\n- a list:",
]


@pytest.mark.parametrize("text", KEPT)
def test_what_somebody_meant_stays(text):
    assert (sanitise(text).text, sanitise(text).edits) == (text, ())


@pytest.mark.parametrize(
    ("raw", "text", "edits"),
    [
        ("  hello \n", "hello", ("spaces",)),
        ("a\r\nb\rc", "a\nb\nc", ("newlines",)),
        ("a\x00b\x1b[31mc\x7f", "ab[31mc", ("controls",)),
        ("pay \u202eexe.txt", "pay exe.txt", ("controls",)),
        ("half \ud83d pair", "half \ufffd pair", ("surrogates",)),
        ("\ufeff x\x00\r\n", "x", ("newlines", "controls", "spaces")),
    ],
)
def test_what_was_done_is_named(raw, text, edits):
    assert (sanitise(raw).text, sanitise(raw).edits) == (text, edits)


@given(st.text(st.characters(codec=None, categories=["L", "N", "P", "S", "Z", "C"]), max_size=60))
def test_the_result_is_stable_and_storable(raw):
    once = sanitise(raw)
    assert sanitise(once.text) == type(once)(once.text, ())
    assert (once.text == raw) == (not once.edits)
    table = pa.table({"text": [once.text], "raw": [storable(raw)]})
    assert table.to_pylist()[0]["text"] == json.loads(json.dumps(once.text))


def test_a_status_says_why_a_text_is_no_use():
    assert status(Completion(0, "x"), "x") == "ok"
    assert status(Completion(0, ""), "") == "empty"
    assert status(Completion(0, "x", finish="length"), "x") == "length"
    assert status(Completion(0, "", finish="error", error="no room"), "") == "error: no room"
    assert status(Completion(0, "xxx"), "xxx", max_characters=2) == "too long"
