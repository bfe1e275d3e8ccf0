"""Both steps in one stream: answers start while instructions still come, and the rows are those of two separate runs."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magpie_align.engines import Sampling
from magpie_align.engines.protocol import Completion, Request
from magpie_align.engines.scripted import ScriptedEngine
from magpie_align.engines.stream import stream
from magpie_align.engines.template import derive
from magpie_align.errors import StageError
from magpie_align.flow.table import WHOLE, Shard, Table, read_rows
from magpie_align.synthesis import instructions, responses
from magpie_align.synthesis.grid import Cell, Grid
from magpie_align.synthesis.instructions import Draws, Instructing, write_instructions
from magpie_align.synthesis.responses import Answering, write_both, write_responses
from tests.synthesis.families import family

ROWS, SAMPLES = 23, 2
LLAMA = family("llama-3")
DRAWS = Draws(derive(LLAMA), Grid([Cell(temperature=1.0, rows=ROWS)]), 0, 60)


def script(prompt: str, seed: int | None) -> str:
    """Every fifth instruction is empty; answers tell their prompt's size and their seed."""
    if not prompt.endswith("assistant<|end_header_id|>\n\n"):
        return "" if (seed or 0) % 5 == 0 else f"What is {seed}?"
    return f"It is {len(prompt)} and {seed}."


def tables(folder, shard=WHOLE) -> tuple[Table, Table]:
    asked = Table(folder / "i", folder / "ij", ROWS, instructions.SCHEMA, 4, shard)
    return asked, Table(folder / "r", folder / "rj", ROWS * SAMPLES, responses.SCHEMA, 5, shard)


def steps(asked: Table, answered: Table) -> tuple[Instructing, Answering]:
    how = Sampling(0.8, max_tokens=60)
    return Instructing(DRAWS, asked, "m"), Answering(DRAWS.template, answered, SAMPLES, 0, how, "m", iter(()))


def separately(folder) -> dict[str, bytes]:
    asked, answered = tables(folder)
    asking, answering = steps(asked, answered)
    list(write_instructions(ScriptedEngine(script, LLAMA), asking))
    answering.backlog = answered.wanted(read_rows(folder / "i"), SAMPLES)
    list(write_responses(ScriptedEngine(script, LLAMA), answering))
    return contents(folder)


def contents(folder) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.glob("[ir]/*.parquet"))}


@settings(max_examples=30, deadline=None)
@given(stops=st.lists(st.integers(0, 40), max_size=4), window=st.integers(1, 9), turn=st.integers(1, 30))
def test_one_stream_makes_the_files_of_two_runs_however_often_it_is_broken_off(tmp_path_factory, stops, window, turn):
    expected = separately(tmp_path_factory.mktemp("two"))
    folder = tmp_path_factory.mktemp("one")
    for stop in [*stops, None]:
        asked, answered = tables(folder)
        running = write_both(ScriptedEngine(script, LLAMA, window=window), *steps(asked, answered), turn)
        for count, _ in enumerate(running):
            if count == stop:
                break
        running.close()
        asked.leave()
        answered.leave()
    assert contents(folder) == expected


@pytest.mark.parametrize("turn", [1, 8])
def test_answers_start_while_instructions_come_and_no_more_wait_than_a_turn_and_what_runs(tmp_path, turn):
    asked, answered = tables(tmp_path)
    waiting, both = [], []
    for _ in write_both(ScriptedEngine(script, LLAMA, window=4), *steps(asked, answered), turn):
        waiting.append(asked.done * SAMPLES - answered.done)
        both.append(answered.done > 0 and asked.done < ROWS)
    assert answered.done == ROWS * SAMPLES and any(both)
    assert max(waiting) <= (4 + turn) * SAMPLES + 4


def test_steps_take_turns_so_that_a_batch_is_mostly_of_one_kind():
    class Feeding:
        """Twelve requests; or as many as the first step has been given completions of."""

        def __init__(self, feeds: "Feeding | None" = None) -> None:
            self.feeds, self.ready = feeds, 12 if feeds is None else 0

        def requests(self):
            for number in range(12):
                while number >= self.ready:
                    yield None
                yield Request(number)

        def accept(self, done):
            for other in order:
                if other.feeds is self:
                    other.ready += 1

        def lose(self, key):
            raise AssertionError

    asked = Feeding()
    order, seen = [asked, Feeding(asked)], []

    class Echo:
        def generate(self, requests):
            for request in requests:
                if request:
                    seen.append(request.key[0])
                    yield Completion(request.key, "", finish="stop")

    list(stream(Echo(), order, turn=5))
    assert seen == [0] * 5 + [1] * 5 + [0] * 5 + [1] * 5 + [0] * 2 + [1] * 2


@given(st.integers(1, 9), st.randoms(use_true_random=False))
@settings(max_examples=15, deadline=None)
def test_shards_in_any_order_make_the_same_files(tmp_path_factory, of, order):
    expected = separately(tmp_path_factory.mktemp("whole"))
    folder = tmp_path_factory.mktemp("shards")
    for step in ("asking", "answering"):
        for number in order.sample(range(of), of):
            asked, answered = tables(folder, Shard(number, of))
            asking, answering = steps(asked, answered)
            if step == "asking":
                list(write_instructions(ScriptedEngine(script, LLAMA), asking))
                asked.close()
            else:
                rows = read_rows(folder / "i", start=answered.first // SAMPLES)
                answering.backlog = answered.wanted(rows, SAMPLES)
                list(write_responses(ScriptedEngine(script, LLAMA), answering))
                answered.close()
    assert contents(folder) == expected


class Flaky(ScriptedEngine):
    """A server that fails for now, at random or (share 1) always."""

    def __init__(self, share: float, seed: int = 0) -> None:
        super().__init__(script, LLAMA)
        self._share, self._rng = share, random.Random(seed)

    def generate(self, requests):
        for done in super().generate(requests):
            if self._rng.random() < self._share:
                done = replace(done, text="", finish="error", error="the server answered 503", passing=True)
            yield done


def test_what_failed_for_now_is_said_left_missing_and_asked_again(tmp_path):
    expected = separately(tmp_path / "two")
    for seed in range(40):
        asked, answered = tables(tmp_path / "one")
        try:
            list(write_both(Flaky(0.3, seed), *steps(asked, answered)))
            break
        except StageError as error:
            assert "most often: the server answered 503; all others are kept" in str(error)
        asked.leave()
        answered.leave()
    assert seed > 0 and contents(tmp_path / "one") == expected


def test_a_server_that_always_fails_is_left_early(tmp_path):
    total = 10_000
    asked = Table(tmp_path / "i", tmp_path / "ij", total, instructions.SCHEMA)
    draws = replace(DRAWS, grid=Grid([Cell(temperature=1.0, rows=total)]))
    with pytest.raises(StageError, match="^100 requests failed"):
        list(write_instructions(Flaky(1.0), Instructing(draws, asked, "m")))
