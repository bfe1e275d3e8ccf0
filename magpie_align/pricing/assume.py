"""What a user knows of the data and the paper does not say. Nothing here decides what is made."""

from pydantic import Field

from magpie_align.settings import Settings


class Assume(Settings):
    """`assume.tokens.responses=600` on the command line, or a group of a recipe."""

    tokens: dict[str, float] = {}
    """Stage -> mean tokens that it generates a row."""
    shares: dict[str, float] = {}
    """Predicate, as the recipe writes it -> the share of rows that passes it."""
    rounds: int | None = Field(default=None, ge=1)
    """Requests go in rounds of so many, each waiting for its longest answer, as the official scripts send them (200 in
    magpie-llama3-8b.sh and -70b.sh); left out, they stream, as they do here."""
