"""The checked reader names what is wrong with a data file."""

import pytest

from data.parquet import PROMPT_COLUMNS, prompt_row, read_parquet, write_parquet


def rows(count):
    return [prompt_row("source", f"{i}", str(i), "train", i) for i in range(count)]


def test_round_trip(tmp_path):
    write_parquet(tmp_path / "a.parquet", rows(3))
    assert read_parquet(tmp_path / "a.parquet", PROMPT_COLUMNS) == rows(3)


def test_faults_are_named(tmp_path):
    good = tmp_path / "good.parquet"
    write_parquet(good, rows(50))
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(good.read_bytes()[:-100])
    text = tmp_path / "text.parquet"
    text.write_text("not parquet at all")
    column = tmp_path / "column.parquet"
    write_parquet(column, [{"question": "1"}])
    for path, word in (
        (cut, "not a readable parquet file"),
        (text, "not a readable parquet file"),
        (tmp_path / "gone.parquet", "no such data file"),
        (column, "'data_source' is missing"),
    ):
        with pytest.raises(ValueError, match=word) as error:
            read_parquet(path, PROMPT_COLUMNS)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)


def test_an_empty_file_is_refused(tmp_path):
    path = tmp_path / "empty.parquet"
    write_parquet(path, rows(1))
    import pyarrow.parquet as pq

    pq.write_table(pq.read_table(path).slice(0, 0), path)
    with pytest.raises(ValueError, match="no rows"):
        read_parquet(path, PROMPT_COLUMNS)
