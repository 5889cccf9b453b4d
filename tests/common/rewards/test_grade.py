"""`common grade`: a file of outputs becomes a file of verdicts, whatever interrupts it."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from common.cli import main
from common.config import ROOT
from common.rewards import grade
from common.rewards.registry import MODULES, get_grader

BAD = "tests.common.rewards.misbehaving:misbehaving"


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def boxes(count):
    return [{"id": i, "response": f"\\boxed{{{i % 3}}}", "gold": "1"} for i in range(count)]


@pytest.fixture
def files(tmp_path):
    return tmp_path / "in.jsonl", tmp_path / "sub" / "out.jsonl"


def run(name, source, target, *options):
    return main(["grade", name, str(source), str(target), *options])


def test_every_row_gets_its_verdict_in_order(files):
    source, target = files
    rows = [*boxes(100), {"id": "none", "response": None, "gold": "1", "more": [1]}]
    rows.append({"id": "pair", "prediction": "\\boxed{1}", "gold": "1"})
    rows.append({"id": "gold", "response": "\\boxed{1}", "gold": "one"})
    assert run("integer_answer", write(source, rows), target, "--workers", "2") == 0
    found = read(target)
    assert [row["id"] for row in found] == [row["id"] for row in rows]
    outcomes = ["correct" if i % 3 == 1 else "wrong" for i in range(100)]
    outcomes += ["wrong", "correct", "ungradable"]
    assert [row["outcome"] for row in found] == outcomes
    assert found[1] == {
        "id": 1,
        "outcome": "correct",
        "score": 1.0,
        "extracted": "1",
        "grader": "integer_answer",
        "version": get_grader("integer_answer").version,
        "row": found[1]["row"],
        "details": {"format": 1.0},
    }
    assert len({row["row"] for row in found}) == len(rows)


def test_hard_answers_are_ungradable_and_say_why(files):
    source, target = files
    acts = ["42", "spin", "exit", "42"]
    rows = [{"id": i, "response": act, "gold": "42"} for i, act in enumerate(acts)]
    assert run(BAD, write(source, rows), target, "--workers", "2") == 0
    found = read(target)
    assert [row["outcome"] for row in found] == ["correct", "ungradable", "ungradable", "correct"]
    assert [row["details"] for row in found[1:3]] == [{"deadline": 1.0}, {"crash": 1.0}]


@pytest.mark.parametrize("torn", ["", '{"id": 3, "outc', '{"id": 3}'])
def test_it_goes_on_with_what_is_missing(files, torn):
    source, target = files
    write(source, boxes(9))
    assert run("integer_answer", source, target) == 0
    whole = read(target)
    target.write_text("".join(json.dumps(whole[i]) + "\n" for i in (5, 0)) + torn)
    assert run("integer_answer", source, target) == 0
    assert read(target) == [whole[i] for i in (5, 0, 1, 2, 3, 4, 6, 7, 8)]
    before = target.read_bytes()
    assert run("integer_answer", source, target) == 0
    assert target.read_bytes() == before


def test_a_changed_row_is_graded_again(files, capsys):
    source, target = files
    rows = boxes(9)
    run("integer_answer", write(source, rows), target)
    before = read(target)
    rows[4]["response"] = "\\boxed{7}"  # was right
    rows[5]["gold"] = "2"  # was wrong
    assert run("integer_answer", write(source, rows), target) == 0
    after = {row["id"]: row for row in read(target)}
    assert len(after) == 9
    assert [after[i]["outcome"] for i in (4, 5)] == ["wrong", "correct"]
    assert [after[row["id"]] == row for row in before] == [i not in (4, 5) for i in range(9)]
    assert "2 rows have changed" in capsys.readouterr().err
    stale = target.read_text().replace('"version": "', '"version": "0.')
    target.write_text(stale)
    assert run("integer_answer", source, target) == 2
    assert "move the file away" in capsys.readouterr().err and target.read_text() == stale


def test_killed_by_force_it_goes_on(files):
    source, target = files
    rows = [{"id": i, "response": "spin" if i == 40 else "42", "gold": "42"} for i in range(80)]
    write(source, rows)
    words = ["-m", "common", "grade", BAD, str(source), str(target), "--workers", "1"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    first = subprocess.Popen([sys.executable, *words], env=env, stderr=subprocess.DEVNULL)
    while not target.exists():
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait()
    subprocess.run([sys.executable, *words], env=env, check=True, stderr=subprocess.DEVNULL)
    found = read(target)
    assert sorted(row["id"] for row in found) == list(range(80))
    assert sum(row["outcome"] == "correct" for row in found) == 79


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "in.jsonl:3: not JSON"),
        ("[" * 100_000, "in.jsonl:3: not JSON"),
        ("7", "in.jsonl:3: an object is wanted"),
        ('{"response": "", "gold": "1"}', "in.jsonl:3: 'id' is missing"),
        ('{"id": 9, "gold": "1"}', "in.jsonl:3: 'response' is missing"),
        ('{"id": 9, "response": "x"}', "in.jsonl:3: gold: an integer as text"),
        ('{"id": 9, "response": 7, "gold": "1"}', "in.jsonl:3: response: text or null"),
        ('{"id": 0, "response": "", "gold": "1"}', "in.jsonl:3: the id 0 occurs twice"),
        ('{"id": [1], "response": "", "gold": "1"}', "in.jsonl:3: id: text or a number"),
        ('{"id": 9, "response": "", "gold": 1}', "in.jsonl:3: gold: an integer as text"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(files, capsys, line, says):
    source, target = files
    write(source, boxes(2))
    with source.open("a") as file:
        file.write(line + "\n")
    assert run("integer_answer", source, target) == 2
    errors = [text for text in capsys.readouterr().err.splitlines() if "error: " in text]
    assert len(errors) == 1 and says in errors[0]


def test_what_cannot_be_is_refused(files, capsys):
    source, target = files
    write(source, boxes(2))
    for words, says in (
        (["grade"], "or --list"),
        (["grade", "integer_answer", str(source)], "or --list"),
        (["grade", "intger_answer", str(source), str(target)], "integer_answer"),
        (["grade", "integer_answer", str(target), str(target)], "jsonl: cannot be read (No such"),
        (["grade", "integer_answer", str(source.parent), str(target)], "cannot be read (Is a dir"),
        (["grade", "integer_answer", str(source), str(source.parent)], "written (Is a dir"),
        (["grade", "integer_answer", str(source), str(source / "x")], "x: cannot be written (Not"),
        (["grade", "integer_answer", str(source), str(source)], "the file to be graded"),
        (["grade", "integer_answer", str(source), str(target), "--workers", "0"], "at least 1"),
    ):
        assert main(words) == 2
        error = capsys.readouterr().err
        assert says in error and error.count("\n") == 1
    assert run("integer_answer", source, target) == 0
    with target.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert run("integer_answer", source, target) == 2
        assert "another process is writing" in capsys.readouterr().err
    assert run("arithmetic_chain", source, target) == 2
    assert "out.jsonl:1: no verdict of this command (integer_answer" in capsys.readouterr().err
    write(source, boxes(1))
    assert run("integer_answer", source, target) == 2
    assert "has the id 1" in capsys.readouterr().err
    target.write_text("{}\n" + target.read_text())
    assert run("integer_answer", source, target) == 2
    assert "out.jsonl:1: " in capsys.readouterr().err
    source.write_text("\n")
    assert run("integer_answer", source, target) == 2
    assert "no rows" in capsys.readouterr().err


def test_the_list_names_every_grader(capsys):
    assert main(["grade", "--list"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names == list(MODULES)


def test_lists_of_verdicts_stand_beside_the_outcome():
    verdict = grade.Verdict(grade.Outcome.WRONG, 0.5, None, {"strict": [True, False], "n": 2})
    line = grade._line("x", verdict, "g", "1")
    assert line["strict"] == [True, False] and line["details"] == {"n": 2}
