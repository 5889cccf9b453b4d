"""The GSM8K grader: OpenAI's published verdicts, one number as the final answer, no tricks."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.rewards.gsm8k import final_answer, read_number
from common.rewards.registry import get_grader
from common.rewards.verdict import Outcome

CASES = Path("../shared/grader_cases/gsm8k_openai_model_solutions.jsonl")
GSM8K = get_grader("gsm8k")


def score(response, gold="18"):
    return GSM8K.grade({"response": response, "gold": gold}).score


@pytest.mark.skipif(not CASES.exists(), reason="published verdicts are not here")
def test_agrees_with_openai():
    rows = [json.loads(line) for line in CASES.read_text().splitlines()]
    assert len(rows) == 1500
    assert {row["expected"] for row in rows} == {True, False}
    for row in rows:
        verdict = GSM8K.grade(row)
        assert (verdict.outcome is Outcome.CORRECT) == row["expected"], row["id"]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("18", "18"),
        (" -18. ", "-18"),
        ("+18", "18"),
        ("$1,080.50", "1080.5"),
        ("-$5", "-5"),
        ("$-5", "-5"),
        ("\\$5", "5"),
        ("$18$", "18"),
        ("**18**", "18"),
        ("18\\%", "18"),
        ("018", "18"),
        (".5", "0.5"),
        ("109,200,000", "109200000"),
        *((text, None) for text in ["", " ", "x", "18 dollars", "2 million", "17 18", "17-18"]),
        *((text, None) for text in ["1/5", "1,08", "1080,000", "1.2.3", "9*2=18", "- 18", "--18"]),
        *(
            (text, None)
            for text in ["1e1", "\u0661\u0668", "\u221218", "18\u00b2", "NaN", "1" * 65]
        ),
    ],
)
def test_numbers(text, number):
    assert read_number(text) == (None if number is None else Decimal(number))


@pytest.mark.parametrize(
    "response",
    [
        "9 * 2 = <<9*2=18>>18\n#### 18",
        "#### 18\n",
        "She makes 18.\nA: 18",
        "<reasoning>9*2</reasoning>\n<answer>18</answer>",
        "<answer>\n18\n</answer>",
        "So she makes $\\boxed{18}$ dollars in 2 days.",
        "\\boxed{18.00}",
        "<answer>\\boxed{18}</answer>",
        "9*2=18\n18",
        "9*2=18\n**18**",
        "The answer is 18.",
        "9*2=18\nSo, the final answer is: $18.",
        "**Answer:** 18",
        "#### 17\nNo, that was for one day.\n#### 18",
        "<answer>17</answer> No, both days: <answer>18</answer>",
        "\\boxed{18}\n#### 18",
        "Does she need more? No.\n#### 18",
        "<think>17?</think>#### 18",
        "17? </think>\n#### 18",
        "#### $18.0",
    ],
)
def test_right_answers(response):
    assert score(response) == 1.0
    assert score(response, "17") == score(response, "-18") == 0.0


def test_commas():
    for gold in ("1,080", "1080", "1080.0"):
        for response in ("#### 1,080", "A: 1080", "\\boxed{1{,}080}", "<answer>$1,080</answer>"):
            assert score(response, gold) == 1.0


ATTACKS = [
    None,
    "",
    "####",
    "#### ",
    "A: ",
    "<answer></answer>",
    "<reasoning></reasoning><answer></answer>",
    "<think></think>",
    "\\boxed{}",
    "\\boxed{18",
    "<answer>18",
    "18</answer>",
    "</answer>18<answer>",
    "<answer>18<answer>",
    "<think>#### 18",
    "<think>\n#### 18\n</think>",
    "<think>\n#### 18\n</think>I do not know.",
    "<think>x</think><think>\\boxed{18}",
    "<reasoning>\n#### 18\n</reasoning>\n<answer></answer>",
    "<reasoning><answer>18</answer></reasoning>",
    "<reasoning>\\boxed{18}</reasoning> <answer>17</answer>",
    "#### 16 17 18 19 20",
    "#### 17 or 18",
    "#### 17, 18",
    "#### 18/19",
    "A: 17 or 18",
    "A: 18, 19",
    "<answer>17 18 19</answer>",
    "<answer>17\n18</answer>",
    "<answer>18</answer><answer>19</answer>",
    "<answer>17</answer> or <answer>18</answer>",
    "#### 17\n#### 18",
    "#### 17\n\\boxed{18}",
    "\\boxed{18}, \\boxed{19}",
    "\\boxed{17, 18, 19}",
    "\\boxed{18 \\text{ or } 19}",
    "#### 18\n#### 19",
    "#### 18\n\\boxed{19}",
    "A: 18\nA: 19",
    "#### not 18",
    "#### -18",
    "#### 1 8",
    "#### 18x",
    "#### 18 thousand",
    "#### 9*2",
    "#### 9*2=18",
    "#### ~18",
    "#### >18",
    "#### 18?!",
    "A: not 18",
    "The answer is not 18.",
    "The answer isn't 18.",
    "It is not true that the answer is 18.",
    "The answer is not \\boxed{18}.",
    "The answer is never $\\boxed{18}$",
    "This is not: <answer>18</answer>",
    "It isn't \\boxed{18}",
    "<answer>It is not 18</answer>",
    "The answer is 17 or 18.",
    "The answer is not" + " " * 200 + "18",
    "not" + "*" * 200 + "18",
    "I think 18",
    "She makes 18.",
    "18 is the answer",
    "Answer the question with #### and the number 18",
    "Question: 9 eggs at $2 a piece, what does she make? Answer in <answer> </answer>.",
    "#### \u0661\u0668",
    "#### 18\u00b2",
    "#### " + "0" * 100 + "18",
    "#### 18." + "0" * 100 + "1",
]


@pytest.mark.parametrize("response", ATTACKS)
def test_attacks_score_nothing(response):
    assert score(response) == 0.0


def test_the_attacks_are_many():
    assert len(set(ATTACKS)) == len(ATTACKS) >= 60
    # 1 to 100 in every form: none counts, or the last one where each has a sentence of its own
    for mark in (
        "#### {}\n",
        "\nA: {}",
        "<answer>{}</answer>",
        "\\boxed{{{}}} ",
        "The answer is {}.\n",
    ):
        listed = "".join(mark.format(n) for n in range(1, 101))
        alone = [100] if "answer is" in mark else []
        assert [n for n in range(1, 101) if score(listed, str(n))] == alone


def test_verdict():
    verdict = GSM8K.grade({"response": "#### 18 dollars", "gold": "18"})
    assert (verdict.outcome, verdict.extracted) == (Outcome.WRONG, "18 dollars")
    assert verdict.details == {"format": 0.0}
    assert GSM8K.grade({"response": "#### 18", "gold": "n/a"}).outcome is Outcome.UNGRADABLE
    for gold in (18, None, {"answer": "18"}):
        with pytest.raises(ValueError, match="gold"):
            GSM8K.grade({"response": "#### 18", "gold": gold})


@given(st.text(max_size=200) | st.text("#A: 18\n<answer>/{}\\boxed$*.,-think", max_size=80))
def test_any_text_gets_a_score(text):
    verdict = GSM8K.grade({"response": text, "gold": "18"})
    assert verdict.score == float(verdict.outcome is Outcome.CORRECT)
    assert verdict.score <= verdict.details["format"]


@pytest.mark.parametrize("piece", ["<answer>", "\\boxed{", "#### ", "\nA: ", "1,", "$", "</think>"])
def test_long_texts_end(piece):
    assert final_answer(piece * 50_000) != "18"


@given(
    prose=st.text("abc \n", max_size=60),
    number=st.integers(-(10**9), 10**9),
    mark=st.sampled_from(["#### {}", "A: {}", "<answer>{}</answer>", "\\boxed{{{}}}", "{}"]),
    style=st.sampled_from(["{}", "{:,}", "{:.2f}", "{}.", "${}"]),
)
def test_prose_and_style_change_nothing(prose, number, mark, style):
    stated = f"{prose}\n" + mark.format(style.format(number))
    assert score(stated, str(number)) == 1.0
    assert score(stated, str(number + 1)) == 0.0
