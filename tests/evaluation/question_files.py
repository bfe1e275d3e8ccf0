"""Small question sets in the four published forms, as files; a question says by its last word how well it is answered."""

import json
from pathlib import Path
from typing import Any

TAGS = ("Creative Writing", "Reasoning", "Math", "Information seeking", "Coding & Debugging")


def alpaca(folder: Path, n: int = 8) -> str:
    rows = [{"instruction": f"Say x {i} times.", "dataset": ("koala", "vicuna")[i % 2]} for i in range(n)]
    return _list(folder / "alpaca_eval.json", rows)


def arena(folder: Path, n: int = 8) -> str:
    rows = [{"uid": f"u{i}", "category": "hard", "prompt": f"Say x {i} times, hard."} for i in range(n)]
    return _lines(folder / "question.jsonl", rows)


def wildbench(folder: Path, n: int = 10) -> str:
    rows = []
    for i in range(n):
        said = [("user", "Hello."), ("assistant", "Hello to you.")] if i % 2 else []
        chat = [{"role": role, "content": text} for role, text in [*said, ("user", f"Say x {i} times, in the wild.")]]
        rows.append(
            {
                "session_id": f"s{i}",
                "conversation_input": chat,
                "primary_tag": TAGS[i % 5],
                "secondary_tags": ["Planning"] if i == 0 else [],
                "checklist": ["Are there enough x?", "Is there nothing else?"],
            }
        )
    return _list(folder / "wildbench.json", rows)


def mt_bench(folder: Path, n: int = 6) -> str:
    rows: list[dict[str, Any]] = [
        {
            "question_id": 81 + i,
            "category": ("writing", "math", "stem")[i % 3],
            "turns": [f"Say x {i} times.", f"Now {i + 1} times."],
        }
        for i in range(n)
    ]
    return _lines(folder / "mt_bench.jsonl", rows)


def mt_bench_references(folder: Path, n: int = 6) -> str:
    rows = [
        {"question_id": 81 + i, "model_id": "gpt-4", "choices": [{"turns": ["x " * i, "x " * (i + 1)]}]}
        for i in range(n)
        if i % 3 == 1
    ]
    return _lines(folder / "reference_answers.jsonl", rows)


def outputs(folder: Path, questions: str, name: str, more: int) -> str:
    """Published answers in AlpacaEval's form: `more` x than were asked for."""
    rows = [
        {"instruction": row["instruction"], "output": "x " * (i + more) + ".", "generator": name}
        for i, row in enumerate(json.loads(Path(questions).read_text()))
    ]
    return _list(folder / f"{name}.json", rows)


def _list(file: Path, rows: list[dict[str, Any]]) -> str:
    file.write_text(json.dumps(rows))
    return str(file)


def _lines(file: Path, rows: list[dict[str, Any]]) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)
