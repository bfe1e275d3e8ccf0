"""Scripted models of a Llama-3-like chat, for question sets that ask for so many x."""

import re

EOT = "<|eot_id|>"


def asked(prompt: str) -> int:
    """The number that the last user's turn says."""
    return int(re.findall(r"\d+", prompt.split("<|start_header_id|>user<|end_header_id|>")[-1])[0])


def exact(prompt: str, seed: int | None) -> str:
    return "x " * asked(prompt) + "." + EOT


def more(prompt: str, seed: int | None) -> str:
    """Two more than were asked for."""
    return "x " * (asked(prompt) + 2) + "." + EOT


def faulty(prompt: str, seed: int | None) -> str:
    """0: nothing; 1: it does not end; 2: a special token that does not stop it; 3: one that does."""
    kinds = {
        0: "  " + EOT,
        1: "x " * 500,
        2: "x x <|begin_of_text|>and so on" + EOT,
        3: "x x x<|end_of_text|> more" + EOT,
    }
    return kinds.get(asked(prompt), exact(prompt, seed))


def historian(prompt: str, seed: int | None) -> str:
    """Tells how many turns of the user and of its own it has seen, and whether it is sampled."""
    turns = [prompt.count(f"<|start_header_id|>{role}<|end_header_id|>") for role in ("user", "assistant")]
    return f"{turns[0]} {turns[1] - 1} {'greedy' if seed is None else 'drawn'}" + EOT


def uneven(prompt: str, seed: int | None) -> str:
    """Sometimes more, sometimes fewer than were asked for, sometimes as many."""
    n = asked(prompt)
    return "x " * max(0, n + (n * 7) % 11 - 5) + "." + EOT
