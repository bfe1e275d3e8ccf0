"""One hierarchy of errors. Every message is one clear sentence: what is wrong, where, and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class MagpieError(Exception):
    """Anything this package refuses or fails at, with a message fit to be printed alone."""


class ConfigError(MagpieError):
    """The request itself is wrong: found before any work starts, reported with exit code 2."""


class StageError(MagpieError):
    """A stage could not do its work: exit code 1."""


class AgainError(MagpieError):
    """It was asked to leave and has saved its work: exit code 75, start it again for the rest."""


AGAIN = 75
"""The exit code that says so; sysexits.h calls it EX_TEMPFAIL."""


class LockedError(MagpieError):
    """Another process is making the same artifact."""


def suggest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the known word nearest to `word`, or an empty string."""
    near = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""
