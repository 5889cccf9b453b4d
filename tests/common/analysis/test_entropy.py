"""The performance-entropy fit against linear algebra, and what is paired with what."""

import numpy as np
import pytest

from common.analysis.entropy import course_of, draw, fit, metrics, on_the_way, pairs, tenths
from common.analysis.runs import Run, Selection


def test_an_exact_curve_is_recovered():
    entropies = np.linspace(0.5, 0.1, 20)
    found = fit(entropies, -2 * np.exp(entropies) + 5)
    assert (found.a, found.b, found.r2) == pytest.approx((2, 5, 1))
    assert found.at_zero == pytest.approx(3)
    assert found.a_se < 1e-9 and found.a_interval == pytest.approx((2, 2))


def test_standard_errors_are_those_of_the_normal_equations():
    draw = np.random.default_rng(1)
    entropies = 0.5 * 0.95 ** np.arange(60)
    scores = -1.5 * np.exp(entropies) + 2.4 + draw.normal(0, 0.05, 60)
    found = fit(entropies, scores)
    design = np.stack([-np.exp(entropies), np.ones(60)], axis=1)
    (a, b), residual, *_ = np.linalg.lstsq(design, scores, rcond=None)
    covariance = np.linalg.inv(design.T @ design) * residual[0] / 58
    assert (found.a, found.b) == pytest.approx((a, b))
    assert (found.a_se, found.b_se) == pytest.approx(np.sqrt(np.diag(covariance)))
    assert found.r2 == pytest.approx(1 - residual[0] / ((scores - scores.mean()) ** 2).sum())
    low, high = found.a_interval
    assert low < found.a < high


def test_correlated_residuals_widen_the_interval_beyond_the_standard_error():
    draw = np.random.default_rng(2)
    entropies = 0.5 * 0.98 ** np.arange(200)
    noise = np.zeros(200)
    for t in range(1, 200):
        noise[t] = 0.8 * noise[t - 1] + draw.normal(0, 0.03)
    found = fit(entropies, -1.5 * np.exp(entropies) + noise)
    low, high = found.a_interval
    assert high - low > 1.5 * 2 * 1.96 * found.a_se


@pytest.mark.parametrize("entropies", [[0.1, 0.2], [0.3, 0.3, 0.3]])
def test_too_few_points_or_one_entropy_are_refused(entropies):
    with pytest.raises(ValueError, match="needs 3 with different entropies"):
        fit(entropies, entropies)


def test_a_validation_is_paired_with_the_entropy_of_the_next_step():
    curves = {
        "steps": [0, 1, 2, 3, 4],
        "metrics": {
            "actor/entropy": [None, 0.5, 0.4, 0.3, 0.2],
            "critic/score/mean": [None, 0.1, 0.2, None, 0.4],
            "val-core/x/acc/mean@1": [0.11, None, 0.33, None, 0.55],
            "val-core/x/acc/best@4/mean": [0.9, None, 0.9, None, 0.9],
        },
    }
    assert metrics(curves) == ["critic/score/mean", "val-core/x/acc/mean@1"]
    assert pairs(curves, "critic/score/mean") == ([0.5, 0.4, 0.2], [0.1, 0.2, 0.4])
    assert pairs(curves, "val-core/x/acc/mean@1") == ([0.5, 0.3], [0.11, 0.33])


def test_tenths_of_the_logged_values():
    assert tenths([None, *range(20)]) == (0.5, 18.5)
    assert tenths([3.0]) == (3.0, 3.0)


def run_of(variant, metrics, steps=(1, 2, 3), **curves):
    final = {name: {"mean": v, "ci95": [v - 0.1, v + 0.1]} for name, v in metrics.items()}
    record = {"metrics": final, "curves": {"steps": list(steps), "metrics": curves}}
    return Run(variant, 1, None, "", record)


def test_the_course_of_fine_tuning_stands_beside_the_ends_of_rl():
    ends = {"general@base/entropy": 0.5, "general@base/accuracy": 0.6}
    ends |= {"general/entropy": 0.2, "general/accuracy": 0.4, "kbqa@base/accuracy": 0.1}
    way = {"course/general/entropy": [None, 0.3, None]}
    way["course/general/accuracy"] = [None, 0.45, None]
    tuned, trained = run_of("sft_heavy", ends, **way), run_of("ppo", ends)
    assert course_of(tuned, "general") == {
        0: {"entropy": (0.5, (0.4, 0.6)), "accuracy": (0.6, (0.5, 0.7))},
        2: {"entropy": (0.3, None), "accuracy": (0.45, None)},
        3: {"entropy": (0.2, (0.1, 0.2 + 0.1)), "accuracy": (0.4, (0.4 - 0.1, 0.5))},
    }
    assert course_of(tuned, "kbqa") == {}  # not drawn from the policy's own distribution
    found = on_the_way(Selection("qwen3_ppo", "micro", [trained, tuned], None))
    assert [(c["arm"], c["step"]) for c in found] == [
        ("ppo", 0),
        ("ppo", 3),
        ("sft_heavy", 0),
        ("sft_heavy", 2),
        ("sft_heavy", 3),
    ]
    assert (found[3]["entropy"]["value"], found[3]["entropy"]["interval"]) == (0.3, None)
    assert found[2]["accuracy"]["interval"] == (0.5, 0.7)
    drawn = draw(Selection("qwen3_ppo", "micro", [], None), "title", found).axes[3].lines
    assert [list(line.get_xdata()) for line in drawn] == [[0, 1], [0, 2 / 3, 1]]
    assert on_the_way(Selection("qwen3_ppo", "micro", [trained], None)) == []
