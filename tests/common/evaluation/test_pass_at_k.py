"""pass@k against exact counting."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.evaluation.pass_at_k import pass_at_k


def exact(n: int, c: int, k: int) -> float:
    return 1 - math.comb(n - c, k) / math.comb(n, k)


@pytest.mark.parametrize("n", [1, 2, 7, 64, 256])
def test_equals_the_hypergeometric_count_for_every_c(n: int) -> None:
    c = np.arange(n + 1)
    for k in {1, 2, n // 3 + 1, n // 2 + 1, n - 1, n} & set(range(1, n + 1)):
        wanted = [exact(n, i, k) for i in c]
        np.testing.assert_allclose(pass_at_k([n] * (n + 1), c, k), wanted, rtol=0, atol=1e-12)


@given(st.data(), st.integers(2, 300))
def test_exact_and_monotone_in_k_and_c(data: st.DataObject, n: int) -> None:
    c = data.draw(st.integers(0, n))
    k = data.draw(st.integers(1, n - 1))
    now, more_k = (float(pass_at_k(n, c, j)[0]) for j in (k, k + 1))
    assert now == pytest.approx(exact(n, c, k), rel=0, abs=1e-12)
    assert more_k >= now - 1e-15
    if c < n:
        assert pass_at_k(n, c + 1, k)[0] >= now - 1e-15


def test_known_values_and_problems_with_different_n() -> None:
    # n=4, c=1: pass@1 = 1/4, pass@2 = 1 - C(3,2)/C(4,2) = 1/2; n=10, c=9 leaves one wrong sample.
    assert pass_at_k([4], [1], 1) == [0.25]
    np.testing.assert_allclose(pass_at_k([4, 10, 8], [1, 9, 0], 2), [0.5, 1.0, 0.0])
    assert pass_at_k([10], [9], 2) == [1.0]


@pytest.mark.parametrize(
    ("n", "c", "k", "says"),
    [
        ([4], [1], 5, "k=5 with n=4"),
        ([8, 4], [1, 1], 6, "k=6 with n=4"),
        ([4], [1], 0, "k=0"),
        ([4], [5], 1, "c > n"),
        ([4], [-1], 1, "c < 0"),
        ([4, 4], [1], 1, "shape"),
        ([[4]], [[1]], 1, "shape"),
        ([4.0], [1.0], 1, "integers"),
        ([], [], 1, "at least one"),
    ],
)
def test_refuses(n: list, c: list, k: int, says: str) -> None:
    with pytest.raises(ValueError, match=says) as error:
        pass_at_k(n, c, k)
    assert "\n" not in str(error.value)
