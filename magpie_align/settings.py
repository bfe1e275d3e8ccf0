"""The base of every typed setting: unknown keys are refused, and some fields are marked as not deciding content."""

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict

T = TypeVar("T")


class _RuntimeMark:
    """Marks a field that says how fast or where work runs, never what it makes."""


RUNTIME = _RuntimeMark()
Runtime = Annotated[T, RUNTIME]


class Settings(BaseModel):
    """Frozen, strict about keys; nested settings compose."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    def content(self) -> dict[str, Any]:
        """The settings that decide what is made: everything but the fields marked `Runtime`, as plain JSON values."""
        out: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            if RUNTIME not in field.metadata:
                out[name] = _plain(getattr(self, name))
        return out


def _plain(value: Any) -> Any:
    if isinstance(value, Settings):
        return value.content()
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value
