"""The file: nothing in the data becomes markup, only its own script may run, and the same run gives the same file."""

import base64
import gzip
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from magpie_align.report.html import write_html
from magpie_align.report.html.page import embedded, packed, visible
from tests.report.html.world import COSTS, HOSTILE, finished, run_of


class Elements(HTMLParser):
    """The tags of a page with their attributes, and the texts of its scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[tuple[str, str]] = []
        self.closed = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.closed = False

    def handle_data(self, data: str) -> None:
        if self.lasttag in ("script", "style") and not self.closed:
            self.inside.append((self.lasttag, data))

    def handle_endtag(self, tag: str) -> None:
        self.closed = True


def test_hostile_texts_make_no_element(tmp_path: Path) -> None:
    made = finished(tmp_path / "store", HOSTILE)
    plain = run_of(finished(tmp_path / "plain", []))
    hostile = run_of(made, name=HOSTILE[0], description=HOSTILE[1], command=HOSTILE[3], composed=HOSTILE[4])
    pages = []
    for name, run in (("a", hostile), ("b", plain)):
        (tmp_path / name).mkdir()
        pages.append(Elements(write_html(run, tmp_path / name).read_text(encoding="utf-8")))
    tags = [[tag for tag, _ in page.tags if tag not in ("p",)] for page in pages]
    assert tags[0] == tags[1]
    assert {tag for tag, _ in pages[0].tags if tag in ("script", "style", "img", "iframe", "textarea")} == {
        "script",
        "style",
    }
    handlers = [name for _, attributes in pages[0].tags for name in attributes if name.startswith("on")]
    assert handlers == []


def test_the_policy_allows_its_own_script_and_style_alone(tmp_path: Path) -> None:
    page = Elements(write_html(run_of(finished(tmp_path / "store", [])), tmp_path).read_text(encoding="utf-8"))
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    for kind in ("script", "style"):
        text = "".join(data for tag, data in page.inside if tag == kind and not data.lstrip().startswith(("{", "H4sI")))
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in str(policy)
    assert str(policy).startswith("default-src 'none';") and "unsafe" not in str(policy)
    asked = [value for _, a in page.tags for name, value in a.items() if name in ("src", "href", "action")]
    assert [value for value in asked if value and not value.startswith(("#", "data:,"))] == []


def test_the_same_run_gives_the_same_file_and_is_not_written_twice(tmp_path: Path) -> None:
    run = run_of(finished(tmp_path / "store", []))
    file = write_html(run, tmp_path)
    first, when = file.read_bytes(), file.stat().st_mtime_ns
    assert write_html(run, tmp_path).stat().st_mtime_ns == when
    file.unlink()
    assert write_html(run, tmp_path).read_bytes() == first
    other = run_of(finished(tmp_path / "other", []), command="python -m magpie_align recipe=small seed=1")
    assert b"seed=1" in write_html(other, tmp_path).read_bytes()


def test_sections_without_data_are_not_there(tmp_path: Path) -> None:
    made = finished(tmp_path / "store", [])
    bare = write_html(run_of({"base": made["base"]}), tmp_path).read_text()
    assert re.findall(r'<section id="(\w+)"', bare) == ["pipeline", "settings"]
    (tmp_path / "whole").mkdir()
    whole = write_html(run_of(made, costs=COSTS), tmp_path / "whole").read_text()
    assert re.findall(r'<section id="(\w+)"', whole) == [
        "result", "paper", "differences", "pipeline", "predicted", "funnel", "distributions", "map", "training", "questions", "failures", "browser", "settings",
    ]  # fmt: skip
    assert "+25.0 [-50.0, +100.0]" in whole and "Nothing published stands here: shots is 0." in whole
    assert "1 s to 1 m 30 s" in whole
    assert "sums exact_match: base 25.0 [0.0, 100.0] → base + SFT 50.0 [0.0, 100.0]" in whole


@settings(max_examples=40)
@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_embedded_json_is_the_value_and_ends_no_element(value: object) -> None:
    text = embedded(value)
    assert "<" not in text and text.isascii()
    assert json.loads(text) == value
    assert json.loads(gzip.decompress(base64.b64decode(packed(value)))) == value


def test_controls_are_spelt_out_and_writing_is_left_alone() -> None:
    assert visible("a\u202eb\x00\ud800") == "a[U+202E]b[U+0000][U+D800]"
    kept = "بيتا \u4e2d\u6587 \n\t \U0001f469"
    assert visible(kept) == kept


def test_what_was_predicted_stands_beside_what_it_took(tmp_path: Path) -> None:
    run = run_of(finished(tmp_path / "store", []))
    plain = write_html(run, tmp_path).read_text(encoding="utf-8")
    told = {"name": "sft <b>", "predicted_rows": None, "rows": None, "predicted_seconds": [10.0, 20.0], "seconds": 17.0}
    page = write_html(replace(run, costs={"stages": [told]}), tmp_path).read_text(encoding="utf-8")
    assert 'id="predicted"' in page and 'id="predicted"' not in plain
    assert '<th scope="row">sft &lt;b&gt;</th>' in page
