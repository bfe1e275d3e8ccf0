"""The page itself: a template, a style, scripts and data in one file that fetches nothing and runs nothing but its own script.

The policy in its head names the one script and the one style by their hashes, so no other can run, wherever it stands. Data is
JSON in elements that are not scripts, with every `<` escaped; the template escapes all text.
"""

import base64
import gzip
import hashlib
import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from magpie_align import __version__
from magpie_align.flow.store import fingerprint
from magpie_align.report.html.pipeline import duration
from magpie_align.report.html.run import Run

# The same set as in assets/1_dom.js: what would reorder or hide text is shown by its number.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def visible(value: Any) -> Any:
    """Text with its control characters and broken halves of characters spelt out: `U+202E`."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return "" if value is None else value
    return _HIDDEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", value)


def render(context: dict[str, Any], light: dict[str, Any], heavy: dict[str, Any]) -> str:
    """The whole file. `light` is drawn at once, `heavy` is packed and unpacked when it is first looked at."""
    style, script = asset("report.css"), _script()
    told = context | {
        "policy": policy(style, script),
        "style": Markup(style),
        "script": Markup(script),
        "light": light,
        "light_json": Markup(embedded(light)),
        "heavy": Markup(packed(heavy)),
    }
    return str(_environment().from_string(asset("report.html.j2")).render(told))


def embedded(value: Any) -> str:
    """JSON that can stand in an element: ASCII, and no `<`, so nothing in it ends the element."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def packed(value: Any) -> str:
    """JSON, gzipped (the same bytes for the same value) and in base64."""
    return base64.b64encode(gzip.compress(embedded(value).encode(), 9, mtime=0)).decode()


def policy(style: str, script: str) -> str:
    """Nothing is loaded, only these two run, and no text is ever parsed as HTML by the script."""
    return (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def stamp(run: Run) -> str:
    """Stands for all that decides the page: what was run, what it made, and the code that shows it."""
    parts = [asset(name) for name in ("report.html.j2", "report.css")]
    made = [(entry.name, entry.folder.name, entry.manifest.get("finished")) for entry in run.made]
    return fingerprint(
        [run.name, run.description, run.command, run.composed, run.costs, made, __version__, _script(), *parts]
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def asset(name: str) -> str:
    return (files(__package__) / "assets" / name).read_text(encoding="utf-8")


def _script() -> str:
    """The scripts in the order of their numbers, as one that leaves no names behind."""
    folder = files(__package__) / "assets"
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".js"))
    body = "\n".join(asset(name) for name in names)
    return f'(() => {{\n"use strict";\n{body}}})();\n'


def _environment() -> Any:
    from jinja2 import Environment, StrictUndefined

    made = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=visible, trim_blocks=True, lstrip_blocks=True
    )
    made.filters |= {"duration": duration, "shortened": _shortened, "number": _number, "points": _points}
    return made


def _shortened(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def _number(value: Any) -> Any:
    return f"{value:,}" if isinstance(value, int) else value


def _points(row: dict[str, Any]) -> str:
    """`+18.2 [+15.9, +20.7]` of a difference and its interval."""
    return f"{100 * row['difference']:+.1f} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]"
