"""Scripts that the scripted engine's tests name by path."""

import os
import time


def echo(prompt_text: str, seed: int | None) -> str:
    return prompt_text if seed is None else f"{prompt_text} {seed}"


NOT_A_FUNCTION = 3


def slow(prompt_text: str, seed: int | None) -> str:
    time.sleep(0.02)
    return f"{os.getpid()} {prompt_text}"


def mortal(prompt_text: str, seed: int | None) -> str:
    if "die" in prompt_text:
        os._exit(7)
    return prompt_text


def hostile(prompt_text: str, seed: int | None) -> str:
    """Slow enough to be seen, and it would steer a terminal, or what draws on it."""
    time.sleep(0.02)
    return "\u202eowned [red]seven[/red]\nis \x1b[2Jthe answer"
