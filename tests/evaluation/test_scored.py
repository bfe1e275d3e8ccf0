"""What an evaluation leaves is read back as it was, and what could not be compared is refused."""

from pathlib import Path

import pytest

from magpie_align.errors import StageError
from magpie_align.evaluation.scored import Scored, read_scored, write_scored
from magpie_align.records import Score, write_scores

WIN = Score("", "alpaca_eval", "win_rate", 0.5, 0.4, 0.6, 4)
CONTROLLED = Score("", "alpaca_eval", "lc_win_rate", 0.45, 0.4, 0.5, 4)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    key = {"judge": "gpt-4", "temperature": 0, "chat_template": True}
    scored = [
        Scored(WIN, key, {"q0": 1.0, "q1": 0.0, "q2": 0.75, "q3": 0.25}, None, {"truncated": 1}),
        Scored(CONTROLLED, key, part_of="alpaca"),
    ]
    write_scored(scored, tmp_path)
    assert read_scored(tmp_path) == scored


def test_scores_alone_are_read_without_keys(tmp_path: Path) -> None:
    write_scores([WIN], tmp_path / "scores.json")
    assert read_scored(tmp_path) == [Scored(WIN)]


def test_what_could_not_be_compared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="decoding in the key of the alpaca_eval win_rate is no plain value"):
        write_scored([Scored(WIN, {"decoding": {"temperature": 0}})], tmp_path)
    with pytest.raises(StageError, match=r"the alpaca_eval win_rate is 0.5, and the mean of its 2 items is 0.75"):
        write_scored([Scored(WIN, {}, {"a": 1.0, "b": 0.5})], tmp_path)
    assert not list(tmp_path.iterdir())
