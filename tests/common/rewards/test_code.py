"""The grader `code`: what is taken for the solution, verdicts, `common grade`, the reward."""

import json

import pytest

from common.cli import main
from common.rewards import code, rule
from common.rewards.verdict import Outcome
from common.sandbox import runner

GOLD = {"inputs": ["1", "2"], "outputs": ["1", "4"]}
RIGHT, HALF = "```python\nprint(int(input()) ** 2)\n```", "```\nprint(1)\n```"


@pytest.fixture(scope="module", autouse=True)
def closing():
    yield
    runner.close()


@pytest.mark.parametrize(
    "response, solution",
    [
        ("Well:\n```python\na\nb\n```\ndone", "a\nb"),
        ("```\nfirst\n```\nbetter:\n```py\nlast\n```", "last"),
        ("```\nfirst\n```\nand\n```\ncut off", "and"),  # as LiveCodeBench has it
        ("print(1)", None),
        ("```python\nprint(1)", None),
        ("```print(1)```", None),
        ("", None),
    ],
)
def test_the_solution_is_the_last_fenced_block(response, solution):
    assert code.extract(response) == solution


@pytest.mark.sandbox
def test_a_solution_is_right_when_it_passes_every_test():
    right = code.grade({"response": RIGHT, "gold": json.dumps(GOLD)})
    assert (right.outcome, right.score) == (Outcome.CORRECT, 1.0)
    assert right.details == {"tests_passed": 1.0, "verdicts": ["passed"] * 2}
    half = code.grade({"response": HALF, "gold": GOLD})
    assert (half.outcome, half.score, half.extracted) == (Outcome.WRONG, 0.0, "print(1)")
    assert half.details == {"tests_passed": 0.5, "verdicts": ["passed", "wrong answer"]}
    for response in ("no program", None, ""):
        none = code.grade({"response": response, "gold": GOLD})
        assert (none.outcome, none.extracted) == (Outcome.WRONG, None)
    with pytest.raises(ValueError, match="^gold: outputs"):
        code.grade({"response": None, "gold": {"inputs": ["1"]}})


@pytest.mark.sandbox
def test_a_file_of_responses_is_graded(tmp_path, capsys):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows = [RIGHT, HALF, None, "```\nwhile True: pass\n```"]
    gold = GOLD | {"time_limit": 0.2}
    lines = [{"id": i, "response": r, "gold": gold} for i, r in enumerate(rows)]
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main(["grade", "code", str(source), str(target), "--workers", "2"]) == 0
    found = [json.loads(line) for line in target.read_text().splitlines()]
    assert [row["outcome"] for row in found] == ["correct", "wrong", "wrong", "wrong"]
    assert found[3]["details"]["verdicts"] == ["time limit"]
    assert found[0]["extracted"] == "print(int(input()) ** 2)"


@pytest.mark.sandbox
def test_it_is_a_reward_that_logs_the_share_of_tests():
    rules = rule.Rules("code", {})
    assert rules.score("any", HALF, json.dumps(GOLD), None) == {
        "score": 0.0,
        "acc": 0.0,
        "ungradable": 0.0,
        "tests_passed": 0.5,
    }


def test_a_machine_that_cannot_run_code_safely_is_told_before_any_response(monkeypatch):
    def refuse():
        raise ValueError("code cannot be run safely here: Landlock; set SANDBOX_URL")

    monkeypatch.setattr(runner, "protections", refuse)
    row = {"data_source": "any", "reward_model": {"ground_truth": GOLD}, "extra_info": {}}
    with pytest.raises(ValueError, match="^train.parquet: code cannot be run safely here"):
        rule.Rules("code", {}).check([row], "train.parquet")
