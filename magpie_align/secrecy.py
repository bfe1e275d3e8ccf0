"""Secrets stay out of all that is written: settings that hold one are refused, and what a server says is cleaned of it.

Keys and tokens live in the environment. What is in a setting would stand in recipes, manifests, cards, reports and logs.
"""

import os
import re
from collections.abc import Iterator
from typing import Any

_VARIABLE = re.compile(r"(?:TOKEN|KEY|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.I)
_SETTING = re.compile(
    r"(?:^|_)(?:api_?key|(?:hub|hf|auth|access|api|bearer)_?token|secret(?:_key)?|password|passwd|authorization)$|^token$",
    re.I,
)
_VALUE = re.compile(r"\bhf_[A-Za-z0-9]{30,}|\bsk-[A-Za-z0-9_-]{20,}|://[^/\s:@]*:[^/\s@]+@")
_SHORTEST = 8  # characters: a shorter value is a word such as EMPTY, which servers without keys are given
_HINT = "keep it in the environment: an endpoint names the variable of its key (api_key_env), and HF_TOKEN is read by huggingface_hub"


def secrets() -> dict[str, str]:
    """Name -> value of the environment's variables that hold secrets, as their names tell."""
    found = {name: value.strip() for name, value in os.environ.items() if _VARIABLE.search(name)}
    return {name: value for name, value in found.items() if len(value) >= _SHORTEST}


def secrets_in(settings: Any, path: str = "") -> Iterator[str]:
    """A sentence on every setting that holds a secret, which it does not repeat."""
    if isinstance(settings, dict):
        for key, value in settings.items():
            inner = f"{path}.{key}" if path else str(key)
            if isinstance(value, str) and value and _SETTING.search(str(key).replace("-", "_")):
                yield f"{inner}: this is a secret, which has no place in settings; {_HINT}"
            else:
                yield from secrets_in(value, inner)
    elif isinstance(settings, (list, tuple)):
        for number, value in enumerate(settings):
            yield from secrets_in(value, f"{path}.{number}")
    elif isinstance(settings, str):
        named = next((name for name, value in secrets().items() if value in settings), None)
        if named or _VALUE.search(settings):
            whose = f"the value of {named}" if named else "what looks like a secret"
            yield f"{path}: it holds {whose}, which has no place in settings; {_HINT}"


def cleaned(text: str, *more: str | None) -> str:
    """`text` without the environment's secrets, and without `more`."""
    for value in sorted({*secrets().values(), *filter(None, more)}, key=len, reverse=True):
        text = text.replace(value, "***")
    return text
