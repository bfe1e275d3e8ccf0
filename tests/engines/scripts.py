"""Scripts that the scripted engine's tests name by path."""


def echo(prompt_text: str, seed: int | None) -> str:
    return prompt_text if seed is None else f"{prompt_text} {seed}"


NOT_A_FUNCTION = 3
