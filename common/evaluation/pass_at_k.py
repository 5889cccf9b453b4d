"""The unbiased pass@k estimator."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def pass_at_k(n: ArrayLike, c: ArrayLike, k: int) -> NDArray[np.float64]:
    """Probability that k of the n samples, drawn without replacement, hold a correct one.

    1 - C(n - c, k) / C(n, k), Chen et al. 2021 (arXiv 2107.03374, eq. 1), as the product of
    (n - c - j) / (n - j) over j < k: it needs no factorial, and is exactly 0 where n - c < k.

    Args:
        n: (P,) samples drawn per problem, integers.
        c: (P,) correct samples among them, integers.
        k: samples allowed, 1 <= k <= min(n).
    Returns: (P,) one estimate per problem, in [0, 1]; their mean is the benchmark's pass@k.
    Raises: ValueError for shapes that differ, non-integers, c outside [0, n], k outside [1, n].
    """
    samples_P, correct_P = np.atleast_1d(np.asarray(n)), np.atleast_1d(np.asarray(c))
    if samples_P.shape != correct_P.shape or samples_P.ndim != 1:
        raise ValueError(
            f"pass@k: n has shape {samples_P.shape} and c {correct_P.shape}; give one of each "
            "per problem"
        )
    if samples_P.dtype.kind not in "iu" or correct_P.dtype.kind not in "iu":
        raise ValueError("pass@k: n and c are counts; give integers and at least one problem")
    if bool(((correct_P < 0) | (correct_P > samples_P)).any()):
        raise ValueError("pass@k: a problem has c < 0 or c > n; c counts correct ones among n")
    if k < 1 or k > samples_P.min():
        raise ValueError(
            f"pass@k: k={k} with n={samples_P.min()} samples of a problem; give 1 <= k <= n"
        )
    drawn_k = np.arange(k)
    wrong_P1 = (samples_P.astype(np.int64) - correct_P)[:, None]
    return 1.0 - np.prod((wrong_P1 - drawn_k) / (samples_P[:, None] - drawn_k), axis=1)
