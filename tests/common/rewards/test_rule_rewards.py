"""Rule rewards: right answers pay, tricks do not, and no text can break them."""

import importlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.rewards import arithmetic_chain, integer_answer


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("2-9=3;3-1=2;2-4=8;8*1=8;", "8"),
        ("8*1=8;", "8"),
        ("8*1=8", None),
        ("8*1=8;;", None),
        ("8*1=8; ", None),
        ("=8;", None),
        ("8", None),
        ("", None),
        ("8*1=88;", None),
        ("8*1=\u0668;", None),  # an Arabic-Indic eight is a digit for str.isdigit
    ],
)
def test_chain_answer(response, answer):
    assert arithmetic_chain.extract_answer(response) == answer


def test_chain_scores_only_the_last_step():
    wrong_then_right = "2-9=5;5-1=4;4-4=0;0*1=8;"
    score = arithmetic_chain.compute_score("x", wrong_then_right, "8")
    assert score == {"score": 1.0, "acc": 1.0, "format": 1.0}
    assert arithmetic_chain.compute_score("x", "1*0=0;1*1=1;", "0")["score"] == 0.0
    # listing every answer pays for the last one only
    listed = "".join(f"0+{d}={d};" for d in range(10))
    assert [arithmetic_chain.compute_score("x", listed, str(d))["acc"] for d in range(10)] == [
        *[0.0] * 9,
        1.0,
    ]


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("so \\boxed{42}", 42),
        ("\\boxed{1} no, \\boxed{-7}.", -7),
        ("\\boxed{1,234}", 1234),
        ("\\boxed{042}", 42),
        ("\\boxed{42", None),
        ("\\boxed{}", None),
        ("\\boxed{4.0}", None),
        ("\\boxed{9^{9}}", None),
        ("\\boxed{--1}", None),
        ("\\boxed{" + "9" * 100 + "}", None),
        ("42", None),
    ],
)
def test_integer_answer(response, answer):
    assert integer_answer.extract_answer(response) == answer


def test_integer_answer_compares_values():
    assert integer_answer.compute_score("x", "\\boxed{073}", "73")["acc"] == 1.0
    assert integer_answer.compute_score("x", "\\boxed{74}", "73")["acc"] == 0.0


@pytest.mark.parametrize("name", ["arithmetic_chain", "integer_answer"])
@given(text=st.text(max_size=300) | st.sampled_from(["\\boxed{" * 50_000, "=" * 10**6, "\ud800"]))
def test_any_text_gets_a_score(name, text):
    score = importlib.import_module(f"common.rewards.{name}").compute_score("x", text, "1")
    assert score["score"] in (0.0, 1.0)
    assert score["acc"] <= score["format"]
