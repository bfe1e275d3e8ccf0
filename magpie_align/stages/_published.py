"""What all stages that make something to publish are told: its title, its terms, and where the verb `push` sends it."""

from typing import ClassVar, Literal

from pydantic import Field

from magpie_align.settings import Runtime, Settings


class Published(Settings):
    """`push` sends nothing by itself: it is for the verb of that name, and for the card."""

    hub_kind: ClassVar[Literal["dataset", "model"]]

    title: str
    description: str = ""
    licence: str | None = None
    """What the card states; left out, what the cards of the models and data state, or unknown."""
    push: str | None = Field(None, pattern=r"^[\w.-]+/[\w.-]+$")
    """`org/name` on the hub, where the verb `push` sends it."""
    private: Runtime[bool] = True
