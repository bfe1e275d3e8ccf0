"""What data was made with, and on whose terms: licences are read from the cards of models and data sets on this machine."""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from magpie_align.report.lineage import Made

UNKNOWN = "unknown"
_WRITERS = ("instructions", "responses", "turns")


@dataclass(frozen=True)
class Origin:
    """Something from outside that the data was made with: `use` says by which stages, `licence` is None where not known here.

    `decides` says whether the data's own licence depends on it: the data sets it is drawn from and the models that wrote it.
    """

    name: str
    use: str
    licence: str | None
    decides: bool


def origins(made: list[Made], also: Collection[str] = ()) -> list[Origin]:
    """Every model and data set from outside, in the order in which they were used. `also` are kinds of stages whose models decide
    the licence beside those that write data: of a model, its trainings.
    """
    uses: dict[str, list[str]] = {}
    deciding: set[str] = set()
    sources: set[str] = set()
    for entry in made:
        for name in entry.externals:
            uses.setdefault(name, []).append(entry.name)
            sources |= {name} if entry.kind == "dataset" else set()
            deciding |= {name} if entry.kind in (*_WRITERS, "dataset", *also) else set()
    return [
        Origin(name, ", ".join(used), licence_of(name, "dataset" if name in sources else "model"), name in deciding)
        for name, used in uses.items()
    ]


def licence_for(found: list[Origin], given: str | None) -> tuple[str, str]:
    """The licence to state, and a sentence on where it is from."""
    if given:
        return given, "Stated by the publisher."
    deciding = [origin for origin in found if origin.decides]
    unread = [origin.name for origin in deciding if not origin.licence]
    if unread or not deciding:
        whose = ", ".join(f"`{name}`" for name in unread) or "the models and data that this was made with"
        return UNKNOWN, f"unknown: the terms of {whose} could not be read where this was made; look them up before use."
    stated = list(dict.fromkeys(str(origin.licence) for origin in deciding))
    if len(stated) > 1:
        return "other", f"It falls under several terms: {', '.join(stated)} (see below)."
    return stated[0], f"The terms of {', '.join(f'`{origin.name}`' for origin in deciding)} apply."


def licence_of(name: str, kind: Literal["model", "dataset"] = "model") -> str | None:
    """The licence that the card of `./folder`, `org/name` or `org/name@revision` states; None if there is none here."""
    card = _card(name, kind)
    if card is None:
        return None
    from huggingface_hub.repocard import metadata_load

    with suppress(Exception):  # a card that cannot be read states nothing
        stated = metadata_load(card) or {}
        licence = stated.get("license")
        named = stated.get("license_name") if licence == "other" else licence
        return str(named or licence) if licence else None
    return None


def _card(name: str, kind: Literal["model", "dataset"]) -> Path | None:
    path = Path(name).expanduser()
    if path.exists():
        card = path / "README.md"
        return card if card.is_file() else None
    from huggingface_hub import try_to_load_from_cache

    repo, _, revision = name.partition("@")
    with suppress(Exception):
        found = try_to_load_from_cache(repo, "README.md", revision=revision or None, repo_type=kind)
        return Path(found) if isinstance(found, str) else None
    return None
