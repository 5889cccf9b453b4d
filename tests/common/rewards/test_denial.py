"""A denied answer is none, and worked solutions full of other negations keep theirs."""

import json
import re
from pathlib import Path
from random import Random

import pytest

from common.rewards import denial
from common.rewards.denial import denied
from common.rewards.mathematics.extract import last_box
from common.rewards.registry import get_grader
from common.rewards.verdict import Outcome

SHARED = Path(__file__).parents[4] / "shared"
BOXES = ("math", "gsm8k", "integer_answer")
# @ stands for a line break
DENIED = r"""
\boxed{5} is not the answer
it is not \boxed{5}
\boxed{5}? No.
The answer is \boxed{5}, which is wrong.
It isn't \boxed{5}.
I don't think it is \boxed{5}.
It is false that the answer is \boxed{5}.
It is not true that $x = \boxed{5}$.
The answer cannot be $\boxed{5}$.
The answer can't be \boxed{5}!
\boxed{5} can't be right.
\boxed{5} is wrong.
\boxed{5} is definitely not the answer.
\boxed{5}. That is wrong.
\boxed{5}. Wait, that's incorrect.
\boxed{5}. No, that is wrong.
\boxed{5}@Just kidding.
\boxed{5} (not)
\boxed{5} (wrong)
\boxed{5}, not!
\boxed{5}. Not.
\boxed{5} - this is not correct.
The answer is anything but \boxed{5}.
The wrong answer is \boxed{5}.
An incorrect answer would be $\boxed{5}$.
Is it \boxed{5}?
Could it be \boxed{5} apples in all?
Maybe \boxed{5}
Perhaps it is \boxed{5}.
My guess is \boxed{5}.
I doubt that the answer is \boxed{5}.
Never \boxed{5}.
The answer is never $\boxed{5}$.
The answer is NOT \boxed{5}
$x \neq \boxed{5}$
x ≠ \boxed{5}
\boxed{5} is not it.
\boxed{5}. I lied.
\boxed{5}. The answer above is false.
\boxed{5}, but that is not the answer.
\boxed{5}, though that's not correct.
\boxed{5} or maybe not.
\boxed{5}? Nope!
\boxed{5}, I guess.
\boxed{5}, maybe.
The answer is **not** \boxed{5}
The answer isn’t \boxed{5}
\boxed{5}@@This answer is incorrect.
\boxed{4}, \boxed{5}
\boxed{4} or \boxed{5}
\boxed{4} \boxed{5}
$\boxed{4}$ and $\boxed{5}$
\boxed{1}\boxed{2}\boxed{3}\boxed{4}\boxed{5}
By no means \boxed{5}
Nobody would say it is \boxed{5}.
\boxed{5} is a lie
Everyone who says \boxed{5} is wrong.
\boxed{5} would be wrong.
I refuse to say that it is \boxed{5}.
<think>\boxed{5}</think>
\boxed{\text{not }5}
\boxed{5} is incorrect; I do not know the answer.
I do not know. \boxed{5}
I am not sure, but the answer is \boxed{5}.
I don't know, but let me say \boxed{5}
The answer might be \boxed{5}.
It could be \boxed{5}.
\boxed{5} \textbf{is not} the answer
\boxed{5}\text{ is wrong}
\boxed{5}\,?
\sout{\boxed{5}}
$\cancel{\boxed{5}}$
~~\boxed{5}~~
<!-- \boxed{5} -->
% \boxed{5}
For example, \boxed{5}
\boxed{5} is an example of the format.
\boxed{5}@@Final answer: 6
\boxed{5}@#### 6
""".strip().splitlines()
DENIED_MARKS = r"""
The answer is not@#### 5
This is wrong:@#### 5
#### 5@No, that is wrong.
#### 5@This is not the answer.
<answer>5</answer> is not the answer.
It is not <answer>5</answer>
""".strip().splitlines()
ASSERTED = r"""
The answer is \boxed{5}.
So $x = \boxed{5}$, since no other root is positive.
x cannot be 0, so the answer is \boxed{5}
The number of days without rain is \boxed{5}.
The number of integers that are not prime is \boxed{5}.
It is not 4; it is \boxed{5}.
We tried 4, which is wrong. The answer is \boxed{5}.
Is it 4? No. \boxed{5}
Is it 4? No, it is \boxed{5}.
The answer is not 4 but \boxed{5}.
She did not eat the rest, so \boxed{5} are left.
\boxed{5}, not 6.
\boxed{5} apples are not eaten.
Hence \boxed{5}. We can check this: 2 + 3 = 5.
\boxed{5} is the answer.
\boxed{5}@@Let me know if you have any questions!
\boxed{5}.@@Is there anything else?
\boxed{5} is the smallest number that is not a factor.
I doubt everything but arithmetic, and it says \boxed{5}.
There is no doubt: the answer is \boxed{5}.
Without doubt the answer is \boxed{5}
Therefore, the final answer is: $\boxed{5}$. I hope it is correct.
\boxed{4}. No, that is wrong: \boxed{5}
Wait, that's not right. Let me redo it. The answer is \boxed{5}.
$$\boxed{5}$$
\[ \boxed{5} \]
The product is 5! = 120, so n = \boxed{5}
The probability of not winning is \boxed{5}.
The answer is \boxed{5} because n is not negative.
This cannot happen for n > 5, so the maximum is \boxed{5}.
No solution is larger than \boxed{5}... 
If the statement is false, the value is \boxed{5}.
We cannot do better, hence \boxed{5}.
The correct answer is not listed, it is \boxed{5}.
\boxed{5}, and no more.
\boxed{5} dollars. She does not pay the rest.
\boxed{5}@@**Answer: 5**
\boxed{5}@@The answer is 5 apples.
""".strip().splitlines()
ASSERTED_MARKS = r"""
He did not go.@#### 5
Does she need more? No.@#### 5
They have none left to sell@#### 5
If it does not rain, she sells 5.@#### 5
""".strip().splitlines()


def paid(name, line, gold="5"):
    grader = get_grader(name)
    verdict = (grader.fast or grader.grade)({"response": line.replace("@", "\n"), "gold": gold})
    assert verdict.score == float(verdict.outcome is Outcome.CORRECT)
    return verdict.score


@pytest.mark.parametrize("name", BOXES)
def test_what_is_denied_doubted_or_one_of_several_pays_nothing(name):
    assert len(DENIED) > 60
    assert [line for line in DENIED if paid(name, line)] == []
    marks = [] if name == "integer_answer" else DENIED_MARKS
    assert [line for line in marks if paid(name, line)] == []


@pytest.mark.parametrize("name", BOXES)
def test_blanks_and_invisible_signs_hide_no_denial(name):
    for between in (" " * 300, "\u200b ", "\u00a0", " \u202e", " \\, \\text{ }"):
        assert not paid(name, f"\\boxed{{5}}{between}is not the answer")
        assert not paid(name, f"The answer is not{between}\\boxed{{5}}")


@pytest.mark.parametrize("name", BOXES)
def test_other_negations_cost_nothing(name):
    assert [line for line in ASSERTED if not paid(name, line)] == []
    marks = [] if name == "integer_answer" else ASSERTED_MARKS
    assert [line for line in marks if not paid(name, line)] == []


def test_an_expression_that_is_denied_pays_nothing():
    gold = {"numbers": [3, 5, 7], "target": 22}
    right = "<answer>3 * 5 + 7</answer>"
    for line in (right, f"We cannot use 7 twice, so it is {right}", f"Not 3 * 7. {right}"):
        assert paid("countdown_strict", line, gold) == 1
    for line in (f"It is not {right}", f"{right} is wrong.", f"{right}? No.", f"Is it {right}?"):
        assert paid("countdown_strict", line, gold) == 0


def test_one_answer_in_several_boxes_is_one_and_several_are_a_list():
    grade = get_grader("math").fast
    for gold, response, outcome in (
        ("1, 2", r"$x = \boxed{1}$ or $\boxed{2}$", "correct"),
        ("2", r"$x = \boxed{1}$ or $\boxed{2}$", "wrong"),
        ("1.5", r"\boxed{\frac{3}{2}}, or \boxed{1.5}", "correct"),
        ("1.5", r"\boxed{1.5}@@\boxed{1.5}", "correct"),
        ("2", r"\boxed{1}. No: \boxed{2}", "correct"),
    ):
        row = {"gold": gold, "response": response.replace("@", "\n")}
        assert grade(row).outcome.value == outcome, response


def texts(path, key):
    if not path.exists():
        pytest.skip(f"{path.name} is not there")
    return [json.loads(line)[key] or "" for line in path.read_text().splitlines()]


def test_no_worked_solution_of_math_or_gsm8k_is_taken_for_a_denial():
    seen = 0
    for split in ("train", "test"):
        for text in texts(SHARED / "data" / "math" / f"{split}.jsonl", "solution"):
            box = last_box(text)
            seen += box is not None
            assert box is None or not denied(text, *box), text[-300:]
        for text in texts(SHARED / "data" / "gsm8k" / f"{split}.jsonl", "answer"):
            mark = re.search(r"^####.*$", text, re.MULTILINE)
            seen += 1
            assert not denied(text, *mark.span()), text[-300:]
    assert seen > 20_000


def test_the_quick_look_misses_no_denial():
    """On texts made of what the careful look knows, of what hides it, and of what is between."""
    words = sorted(denial._HINTS_BEFORE | denial._GOVERNED_SET | {"of 7", "works", "Good", "way"})
    words += [*denial._SURE, *denial._EXAMPLE, *denial._STRUCK, "I am not sure", "≠", "\\ne"]
    signs = [*denial._ENDS, " ", " ", " ", " ", "  ", "\n", ",", "'", "’", "{", "}", "\t", "\u200b"]
    signs += ["\\text{", "\\,", "**", "$", ": ", "\u212a", "\u0130", "−", "✅", "5"]
    random, quiet, found = Random(0), 0, 0
    for _ in range(20_000):
        parts = (
            random.choice(words) * (random.random() < 0.8) + random.choice(signs)
            for _ in range(random.choice((2, 5, 12, 80)))
        )
        text = "".join(parts)
        text = text.upper() if random.random() < 0.1 else text
        careful = denial._denied_before(denial._before(text, len(text)))
        if denial._nothing_before(text, len(text)):
            quiet += 1
            assert not careful, text
        found += careful
    assert quiet > 500 and found > 2_000, (quiet, found)
