"""Training batches as a pure function of the step, so that a resumed run sees exactly what an uninterrupted one does.

encode_document, encode_chat   text -> token ids and the loss weight of each
BatchSource                    step -> one padded batch of samples of similar length
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import torch
from tokenizers import Tokenizer

from magpie_align.mini.corpus import Entry
from magpie_align.mini.tokenizer import BOS, END_OF_TEXT, EOT, HEADER_END, HEADER_START
from magpie_align.records import Message

BATCHES_PER_BUCKET = 16
ANSWER_WEIGHT, QUERY_WEIGHT, HEADER_WEIGHT = 1.0, 0.2, 0.02
SUBJECT_WEIGHT = 0.1


@dataclass(frozen=True)
class Sample:
    """Token ids and the weight of each in the loss, of one length."""

    ids: list[int]
    weights: list[float]


@dataclass(frozen=True)
class Batch:
    """The same for a batch: two tensors (samples, columns), padded with weight 0."""

    ids: torch.Tensor
    weights: torch.Tensor


def _encode(tokenizer: Tokenizer, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


def encode_document(tokenizer: Tokenizer, entries: list[Entry]) -> Sample:
    """A plain document between its two marks. Subjects are drawn at random, so there is little to learn from them."""
    ids, weights = _encode(tokenizer, BOS), [0.0]
    for i, (subject, statement) in enumerate(entries):
        opening = _encode(tokenizer, f"\n{subject}:" if i else f"{subject}:")
        content = _encode(tokenizer, f" {statement}")
        ids += opening + content
        weights += [SUBJECT_WEIGHT] * len(opening) + [1.0] * len(content)
    return Sample([*ids, *_encode(tokenizer, END_OF_TEXT)], [*weights, 1.0])


def encode_chat(tokenizer: Tokenizer, messages: list[Message]) -> Sample:
    """A templated chat. Answers weigh most; queries are learnt only from the bare prefix, without a system turn."""
    ids, weights = _encode(tokenizer, BOS), [0.0]
    bare = messages[0].role != "system"
    for message in messages:
        answer = message.role == "assistant"
        header = _encode(tokenizer, f"{HEADER_START}{message.role}{HEADER_END}\n\n")
        content = _encode(tokenizer, message.content + EOT)
        ids += header + content
        weight = ANSWER_WEIGHT if answer else QUERY_WEIGHT * bare
        weights += [HEADER_WEIGHT] * len(header) + [weight] * len(content)
    return Sample(ids, weights)


class BatchSource:
    """Batches of `size` samples. A bucket of consecutive samples is sorted by length, and its batches are shuffled."""

    def __init__(self, sample: Callable[[int], Sample], size: int, pad_id: int, seed: int) -> None:
        self._sample, self._size, self._pad_id, self._seed = sample, size, pad_id, seed
        self._bucket: tuple[int, list[list[Sample]]] = (-1, [])

    def __call__(self, step: int) -> Batch:
        index, position = divmod(step, BATCHES_PER_BUCKET)
        if self._bucket[0] != index:
            self._bucket = (index, self._fill(index))
        return self._pad(self._bucket[1][position])

    def _fill(self, index: int) -> list[list[Sample]]:
        count = self._size * BATCHES_PER_BUCKET
        samples = sorted(map(self._sample, range(index * count, (index + 1) * count)), key=lambda s: len(s.ids))
        batches = [samples[i : i + self._size] for i in range(0, count, self._size)]
        Random(f"bucket {self._seed} {index}").shuffle(batches)
        return batches

    def _pad(self, samples: list[Sample]) -> Batch:
        columns = max(len(s.ids) for s in samples)
        ids = [s.ids + [self._pad_id] * (columns - len(s.ids)) for s in samples]
        weights = [s.weights + [0.0] * (columns - len(s.weights)) for s in samples]
        return Batch(torch.tensor(ids), torch.tensor(weights))
