"""The language of claims: what it computes and what it refuses."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.results.expression import Measurement, parse

A, B = Measurement("mean", "a", "m"), Measurement("mean", "b", "m")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("mean(a, 'm') / mean(b, 'm')", 4.0),
        ("mean(a, 'm') - mean(b, 'm') * 2 + 1", 5.0),
        ("-(mean(a, 'm') + 0.5) / -mean('b', 'm')", 4.25),
        ("log10(mean(a, 'm') / mean(b, 'm') * 25)", 2.0),
        ("2.5e-1 * mean(a, \"m\")", 2.0),
    ],
)
def test_value(text: str, wanted: float) -> None:
    assert parse(text).value({A: 8.0, B: 2.0}) == pytest.approx(wanted)


def test_measurements_arms_and_ratio() -> None:
    parsed = parse("final('a+1', 'actor/x', 5) / pass_at(b, 'test', 8) - accuracy(b, 'test@base')")
    assert parsed.measurements == (
        Measurement("final", "a+1", "actor/x", 5),
        Measurement("pass_at", "b", "test", 8),
        Measurement("accuracy", "b", "test@base"),
    )
    assert parsed.arms == ("a+1", "b") and not parsed.ratio
    assert parse("mean(a, 'm') / (mean(b, 'm') + 1)").ratio
    assert not parse("log10(mean(a, 'm') / mean(b, 'm'))").ratio


def test_division_by_zero_and_log_of_a_negative_are_no_exception() -> None:
    assert parse("mean(a, 'm') / mean(b, 'm')").value({A: 1.0, B: 0.0}) == math.inf
    assert math.isnan(parse("mean(a, 'm') / mean(b, 'm')").value({A: 0.0, B: 0.0}))
    assert math.isnan(parse("log10(mean(a, 'm'))").value({A: -1.0}))
    assert parse("1 / 0 * mean(a, 'm')").value({A: 1.0}) == math.inf


M = "mean(a, 'm')"
HOSTILE = [
    "__import__('os').system('true')",
    "__import__('os')",
    f"{M}.__class__",
    f"{M} and 1",
    f"lambda: {M}",
    f"(lambda x: x)({M})",
    f"{M} ** 999999999",
    f"9**9**9**9 * {M}",
    f"{M} // 2",
    f"{M} % 2",
    f"{M} << 99",
    f"[{M} for x in 'ab']",
    f"[{M}][0]",
    f"({M}, 1)",
    f"{M} if 1 else 2",
    f"(x := {M})",
    f"{M} < 2",
    f"not {M}",
    f"~{M}",
    f"+{M}",
    f"f'{{{M}}}'",
    f"{M}; 1",
    f"x = {M}",
    f"{M} + 'a'",
    f"{M} + True",
    f"{M} + None",
    f"{M} + 1j",
    f"{M} + 1e999",
    f"{M} + {'9' * 400}",
    f"{M} + nan",
    f"eval({M})",
    f"getattr({M}, 'x')",
    "mean(*['a', 'm'])",
    "mean(**{'a': 'm'})",
    "mean(a, metric='m')",
    "mean(a, 'm', k=3)",
    "mean(a, m)",
    "mean(a.b, 'm')",
    "mean(a)",
    "mean(a, 'm', 3)",
    "mean(mean(a, 'm'), 'm')",
    "final(a, 'm')",
    "final(a, 'm', 0)",
    "final(a, 'm', -1)",
    "final(a, 'm', 2.5)",
    "final(a, 'm', True)",
    "final(a, 'm', 2, 3)",
    "pass_at(a, 'b', k)",
    "median(a, 'm')",
    f"log10({M}, 2)",
    f"log10(base={M})",
    "1 + 1",
    "",
    "   ",
    "\x00",
    "(" * 400,
    "-" * 490 + "1",
    f"{M} " + "+ 1" * 300,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_refuses_in_one_line(text: str) -> None:
    with pytest.raises(ValueError) as error:
        parse(text)
    assert "\n" not in str(error.value)


@given(st.text(alphabet="mean(a,'m')+-*/.0123 log_xfl[]{}:=\\\n\"", max_size=60))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        parsed = parse(text)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert parsed.measurements
