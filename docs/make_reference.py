"""Writes docs/reference.md from the typed settings: `make reference`. A test holds the file to what this prints.

Every top-level key, every kind of stage and every group of settings that they hold is a table; what a field is for is the
docstring below it, or its `description`.
"""

import ast
import inspect
import json
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from magpie_align.flow.stage import Ref
from magpie_align.recipe import Recipe, stage_class, stage_kinds
from magpie_align.settings import RUNTIME

HERE = Path(__file__).parent
HEAD = """\
# Reference: every setting of a recipe

Made from the typed settings by `make reference`; do not edit. A recipe gives stages as `stages: {NAME: {use: KIND, ...}}`, and
`seed` and `engine` at the top are inherited by every stage that has them. Settings marked *how* say how fast or where work runs
and do not decide what is made: they are no part of a stage's fingerprint. An input names another stage; where the type says "or
outside", also a folder (`./models/mine`) or a hub id (`org/name`, `org/name@revision`).
"""


def reference() -> str:
    """The whole file."""
    parts = [HEAD, "## A recipe\n", _table(Recipe)]
    nested: dict[type[BaseModel], None] = {}
    kinds = {kind: stage_class(kind) for kind in stage_kinds()}
    parts.append("## Stages\n")
    for kind, cls in kinds.items():
        sharded = " Can be made in shards." if cls.sharded else ""
        parts += [f"### `use: {kind}`\n", f"{_doc(cls)} Makes {cls.produces}.{sharded}\n", _table(cls)]
        nested |= dict.fromkeys(_nested(cls))
    parts.append("## Groups of settings\n")
    for cls in sorted(nested, key=lambda c: c.__name__):
        parts += [f"### {cls.__name__}\n", f"{_doc(cls)}\n" if _doc(cls) else "", _table(cls)]
    return "\n".join(part for part in parts if part)


def _doc(cls: type) -> str:
    return " ".join((cls.__doc__ or "").split())


def _table(cls: type[BaseModel]) -> str:
    told = _docstrings(cls)
    lines = ["| setting | type | default | |", "|---|---|---|---|"]
    for name, field in cls.model_fields.items():
        words = [told.get(name) or field.description or "", "*how*" if RUNTIME in field.metadata else ""]
        cells = [f"`{name}`", _type(field), _default(field), " ".join(" ".join(words).split())]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""]) if len(lines) > 2 else "No settings.\n"


def _docstrings(cls: type[BaseModel]) -> dict[str, str]:
    """Field -> the string below it, of the class and those it is made of."""
    found: dict[str, str] = {}
    for base in reversed(
        [c for c in cls.__mro__ if issubclass(c, BaseModel) and c.__module__.startswith("magpie_align")]
    ):
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(tree, ast.ClassDef)
        for field, below in zip(tree.body, tree.body[1:], strict=False):
            text = below.value if isinstance(below, ast.Expr) else None
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Constant) and isinstance(text.value, str):
                found[getattr(field.target, "id", "")] = text.value
    return found


def _type(field: FieldInfo) -> str:
    ref = next((mark for mark in field.metadata if isinstance(mark, Ref)), None)
    limits = [words for mark in field.metadata if (words := _limit(mark))]
    return ", ".join([_words(field.annotation, ref), *limits])


def _words(kind: Any, ref: Ref | None = None) -> str:
    """A type as one says it."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _words(args[0], ref or next((mark for mark in args[1:] if isinstance(mark, Ref)), None))
    if origin in (Union, types.UnionType):
        return " or ".join("nothing" if one is type(None) else _words(one, ref) for one in args)
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in args)
    if origin in (list, tuple):
        return f"list of {_words(args[0], ref)}" if args else "list"
    if origin is dict:
        return f"map to {_words(args[1], ref)}"
    if kind is str and ref:
        builtin = "".join(f", or `{word}`" for word in ref.builtin)
        return f"{ref.product}{' or outside' if ref.external else ''}{builtin}"
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return f"[{kind.__name__}](#{kind.__name__.lower()})"
    return {Any: "anything", str: "text", int: "whole number", float: "number", bool: "yes or no", Path: "path"}.get(
        kind, getattr(kind, "__name__", str(kind))
    )


def _limit(mark: Any) -> str:
    named = (("gt", "over {}"), ("ge", "at least {}"), ("lt", "below {}"), ("le", "at most {}"))
    said = [words.format(value) for name, words in named if (value := getattr(mark, name, None)) is not None]
    return ", ".join(said)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**needed**"
    value = field.default if field.default is not PydanticUndefined else field.default_factory()  # type: ignore[misc,call-arg]
    if isinstance(value, BaseModel):
        return "its own"
    if isinstance(value, Path):
        return f"`{value}`"
    return "" if value is None else f"`{json.dumps(value, default=str, ensure_ascii=False)}`"


def _nested(cls: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The groups of settings that this one holds, at any depth."""
    for field in cls.model_fields.values():
        for kind in _leaves(field.annotation):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield kind
                yield from _nested(kind)


def _leaves(kind: Any) -> Iterator[Any]:
    args = get_args(kind)
    if get_origin(kind) is Literal or not args:
        yield kind
    else:
        for one in args:
            yield from _leaves(one)


if __name__ == "__main__":
    (HERE / "reference.md").write_text(reference(), encoding="utf-8")
