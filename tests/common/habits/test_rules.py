"""The rule counter on solutions as language models write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.habits import HABITS
from common.habits.rules import LONGEST, count

CASES = [
    ("5 + 3 = 8, and 8 * 3 = 24. That works!", (1, 0, 0, 0)),
    ("5 + 3 = 8, 8 * 2 = 16, too low. 5 * 3 = 15, 15 - 2 = 13, not the target.", (2, 1, 0, 0)),
    ("5 + 3 = 8 ≠ 24, close to 24? 5 * 3 = 15 is not 24", (3, 1, 0, 0)),
    # two branches of one try are no backtracking
    ("6 - 4 = 2. 9 + 3 = 12. 12 * 2 = 24.", (0, 0, 0, 0)),
    ("First I want to make 12. 3 * 4 = 12.", (0, 0, 1, 0)),
    ("Working backward from 24: 24 - 3 = 21, so I need 21.", (0, 0, 0, 1)),
    ("24 / 3 = 8. 24 - 5 = 19.", (0, 0, 0, 2)),
    ("<answer> 3 * 8 </answer>", (0, 0, 0, 0)),
    ("3 * 8 = 24</think> this works <answer> 3 * 8 </answer>", (0, 0, 0, 0)),
    (None, (0, 0, 0, 0)),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_counts(text, expected):
    assert tuple(count(text, 24).values()) == expected


@given(st.text() | st.text(alphabet="0123456789+-*/=() .<>!tolwhig"))
def test_any_text_has_counts(text):
    found = count(text, 24)
    assert set(found) == set(HABITS) and all(v >= 0 for v in found.values())


PIECES = ["1+", "1 - ", "( 1 ) - ", "(1", "1 + 1 = ", "too ", "is not ", "(" * 50 + "1"]


@pytest.mark.parametrize("piece", PIECES)
def test_long_texts_are_cut_and_not_reread_for_ever(piece):
    count(piece * (5 * LONGEST // len(piece)), 24)
