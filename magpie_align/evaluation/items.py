"""The questions of a benchmark: what lm-eval would ask in the tasks of a recipe, before its template is laid around them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from magpie_align.errors import StageError
from magpie_align.evaluation.tasks import load_tasks
from magpie_align.records import BenchmarkItem


def task_items(tasks: dict[str, int | None], folder: Path | None, data: Path | None = None) -> Iterator[BenchmarkItem]:
    """Every item of these tasks, from the YAML files of `folder` or lm-eval's own (None), read from `data` or the hub (None).

    Groups give those of all their tasks. The id of an item is its `doc_id` in the sample logs of `harness.evaluate`. Raises
    StageError where a task cannot be read.
    """
    for name, task in load_tasks(tasks, folder, data).tasks.items():
        try:
            for number, doc in enumerate(task.eval_docs):
                yield _item(name, number, task, doc)
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise StageError(f"the items of the task '{name}' cannot be read: {reason}") from None


def _item(name: str, number: int, task: Any, doc: dict[str, Any]) -> BenchmarkItem:
    """The question bare where the task tells it, or has it in a column of that name; else as the task would ask it."""
    known = (task.config.doc_to_decontamination_query, "question")
    text = next((doc[c] for c in known if isinstance(c, str) and isinstance(doc.get(c), str)), None)
    choices = [str(choice) for choice in task.doc_to_choice(doc)] if task.config.doc_to_choice is not None else []
    if all(len(choice) == 1 for choice in choices) and isinstance(doc.get("choices"), list):
        choices = [str(choice) for choice in doc["choices"]]  # the letters are what is answered, not what is asked
    if text is None:
        text = task.doc_to_text(doc)
    if not isinstance(text, str):  # the number of the right one among choices that are whole sentences
        text, choices = choices[0], choices[1:]
    return BenchmarkItem(name, str(number), text, tuple(choices))
