"""Claims: reading the file, and every branch of the verdict."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from common.results.claims import Claim, Printed, judge, load_claims

Make = Callable[..., dict[str, Any]]
CLIP = "mean(gspo, 'actor/pg_clipfrac') / mean(grpo, 'actor/pg_clipfrac')"
SCORE = "accuracy(gspo, 'test') - accuracy(grpo, 'test')"


def claim(expression: str, low: float | None, high: float | None, kind: str = "mechanism") -> Claim:
    printed = Printed(None, "said in words")
    return Claim("c", "a claim", kind, "sec 1", None, printed, expression, [low, high])


@pytest.fixture
def pairs(make_record: Make) -> list[dict[str, Any]]:
    """Three seeds of two arms: clip fraction .2 and .002, accuracy .6 and .4."""
    gspo = [make_record("gspo", s, clip=0.2, accuracy=0.6) for s in (1, 2, 3)]
    return gspo + [make_record("grpo", s, clip=0.002, accuracy=0.4) for s in (1, 2, 3)]


def test_load_claims(recipe: Path) -> None:
    clip, score = load_claims(recipe / "claims.yaml")
    assert clip.parsed.arms == ("gspo", "grpo") and clip.limits == (10, np.inf)
    assert clip.paper.value == 115 and clip.informed_by == "pilot"
    assert score.kind == "outcome" and score.paper.value is None and score.informed_by is None


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("kind: mechanism", "kind: hunch", "claim clip: kind 'hunch'"),
        ("band: [10, null]", "band: [10]", "claim clip: band"),
        ("band: [10, null]", "band: [3, 2]", "claim clip: band"),
        ("band: [10, null]", "band: [null, null]", "claim clip: band"),
        ("band: [10, null]", "band: [1e1, null]", "claim clip.band[0]"),
        ("band: [10, null]", "limits: [10, null]", "claim clip.limits: unknown key"),
        ("  source: Figure 2\n", "", "claim clip.source: missing"),
        ("value: 115", "value: many", "claim clip.paper.value"),
        ("mean(gspo,", "mean(gsppo,", "claim clip: unknown arm 'gsppo'"),
        ("mean(gspo,", "median(gspo,", "claim clip: unknown function median"),
        ("mean(gspo, 'actor/pg_clipfrac') /", "9**9 /", "claim clip: '9 ** 9'"),
        ("id: score", "id: clip", "claim clip: occurs twice"),
        ("- id: clip", "- scales: [node9]\n  id: clip", "claim clip: unknown scale 'node9'"),
        ("- id: clip", "id: clip", "YAML"),
        ("text: GSPO clips more", "text: !!python/object/apply:os.getcwd []", "no YAML"),
    ],
)
def test_load_claims_refuses_in_one_line(recipe: Path, old: str, new: str, says: str) -> None:
    path = recipe / "claims.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ValueError) as error:
        load_claims(path)
    assert says in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("low", "high", "result"),
    [
        (10, None, "holds"),
        (None, 1000, "holds"),
        (50, 200, "holds"),
        (None, 10, "fails"),
        (500, None, "fails"),
        (100.5, 102, "undecided"),
    ],
)
def test_verdict_of_a_band_over_seeds(
    pairs: list, low: float | None, high: float | None, result: str
) -> None:
    for record in pairs:  # a spread between seeds: ratios 98, 101 and 104
        factor = {1: 98, 2: 101, 3: 104}[record["seed"]]
        flat = 0.002 * (factor if record["variant"] == "gspo" else 1)
        record["curves"]["metrics"]["actor/pg_clipfrac"] = [flat] * 30
    verdict = judge(claim(CLIP, low, high), pairs, "micro")
    assert verdict.result == verdict.text == result
    assert verdict.seeds == (1, 2, 3) and verdict.over == "seeds, log scale"
    logs = np.log([98, 101, 104])
    t = stats.ttest_1samp(logs, 0).confidence_interval(0.95)
    assert verdict.value == pytest.approx(np.exp(logs.mean()))
    assert verdict.interval == pytest.approx((np.exp(t.low), np.exp(t.high)))


def test_first_and_final_read_the_ends_of_a_curve(make_record: Make) -> None:
    record = make_record("gspo", 1, clip=0.1)
    record["curves"]["metrics"]["actor/pg_clipfrac"] = [None, 4.0, 2.0, 1.0, 1.0]
    ratio = "final(gspo, 'actor/pg_clipfrac', 2) / first(gspo, 'actor/pg_clipfrac', 2)"
    assert judge(claim(ratio, 0, None), [record], "micro").value == pytest.approx(1 / 3)


def test_a_claim_belongs_to_the_scales_that_it_names(pairs: list) -> None:
    only = replace(claim(SCORE, 0, None, "outcome"), scales=["node8_long"])
    assert only.is_for("node8_long") and not only.is_for("micro")
    assert claim(SCORE, 0, None).is_for("micro")
    long = [r | {"scale": "node8_long"} for r in pairs]
    assert judge(only, long, "node8_long").text == "holds"  # a scale of the paper's
    assert "analogue" in judge(only, pairs, "micro").text


def test_ratio_interval_stays_positive_and_a_difference_is_not_logged(make_record: Make) -> None:
    records = [make_record("gspo", s, clip=c) for s, c in ((1, 0.01), (2, 0.4))]
    records += [make_record("grpo", s, clip=0.01) for s in (1, 2)]
    verdict = judge(claim(CLIP, 1, None), records, "micro")
    assert verdict.interval is not None and verdict.interval[0] > 0
    difference = judge(claim(CLIP.replace("/ mean", "- mean"), 0, None), records, "micro")
    assert difference.over == "seeds"
    assert difference.interval is not None and difference.interval[0] < 0


def test_seeds_are_paired(make_record: Make) -> None:
    """The arms share a large seed effect that a difference per seed removes."""
    records = [make_record("gspo", s, clip=0.1 * s + 0.02) for s in (1, 2, 3)]
    records += [make_record("grpo", s, clip=0.1 * s) for s in (1, 2, 3)]
    for record in records:
        base = 0.1 * record["seed"] + (0.02 if record["variant"] == "gspo" else 0)
        record["curves"]["metrics"]["actor/pg_clipfrac"] = [base + 0.0001 * record["seed"]] * 30
    verdict = judge(claim(CLIP.replace("/ mean", "- mean"), 0.01, 0.03), records, "micro")
    assert verdict.result == "holds" and verdict.interval == pytest.approx((0.02, 0.02), abs=1e-9)


def test_one_seed_over_problems_is_a_paired_bootstrap(make_record: Make) -> None:
    gspo, grpo = make_record("gspo", 1, accuracy=0.6), make_record("grpo", 1, accuracy=0.6)
    better = [min(8, c + 1) for c in grpo["problems"]["test"]["c"]]
    gspo["problems"]["test"]["c"] = better
    verdict = judge(claim(SCORE, 0, None), [gspo, grpo], "micro")
    assert verdict.over == "problems" and verdict.seeds == (1,)
    gains = np.subtract(better, grpo["problems"]["test"]["c"]) / 8
    half = 2.1 * gains.std() / np.sqrt(40)
    assert verdict.value == pytest.approx(gains.mean()) and verdict.result == "holds"
    wanted = (gains.mean() - half, gains.mean() + half)
    assert verdict.interval == pytest.approx(wanted, abs=0.01)


def test_one_seed_pairs_problems_by_id_not_by_place(make_record: Make) -> None:
    gspo, grpo = make_record("gspo", 1), make_record("grpo", 1)
    turned = {k: list(reversed(v)) for k, v in grpo["problems"]["test"].items()}
    grpo["problems"]["test"] = turned
    verdict = judge(claim(SCORE, 0, 0), [gspo, grpo], "micro")
    assert verdict.interval == (0, 0) and verdict.result == "holds"


def test_one_seed_over_steps_uses_the_same_blocks_for_both_arms(make_record: Make) -> None:
    gspo, grpo = make_record("gspo", 1), make_record("grpo", 1)
    metric = gspo["curves"]["metrics"]["actor/pg_clipfrac"]
    grpo["curves"]["metrics"]["actor/pg_clipfrac"] = [v / 50 for v in metric]
    verdict = judge(claim(CLIP, 10, None), [gspo, grpo], "micro")
    assert verdict.over == "steps" and verdict.result == "holds"
    assert verdict.interval == pytest.approx((50, 50))


def test_one_seed_of_curves_and_problems_together(make_record: Make) -> None:
    text = "accuracy(gspo, 'test') / mean(gspo, 'actor/pg_clipfrac')"
    verdict = judge(claim(text, 0, None), [make_record("gspo", 1)], "micro")
    assert verdict.over == "problems and steps"
    assert verdict.interval is not None and verdict.value is not None
    assert verdict.interval[0] < verdict.value < verdict.interval[1]


def test_a_second_seed_replaces_the_bootstrap(pairs: list) -> None:
    one = judge(claim(SCORE, 0, None), [r for r in pairs if r["seed"] == 1], "micro")
    all_three = judge(claim(SCORE, 0, None), pairs, "micro")
    assert (one.over, all_three.over) == ("problems", "seeds")
    assert one.interval != all_three.interval


def test_judging_twice_gives_the_same_interval(pairs: list) -> None:
    first = [r for r in pairs if r["seed"] == 1]
    same = claim(SCORE, 0, None)
    assert judge(same, first, "micro") == judge(same, first, "micro")


def test_final_and_pass_at_values(make_record: Make) -> None:
    record = make_record("gspo", 1)
    curve = record["curves"]["metrics"]["val-core/chain/acc/mean@1"] = [None] * 30
    curve[0], curve[10], curve[29] = 0.1, 0.5, 0.7
    final = judge(claim("final(gspo, 'val-core/chain/acc/mean@1', 2)", 0, 1), [record], "micro")
    assert final.value == pytest.approx(0.6)
    passed = judge(claim("pass_at(gspo, 'test', 4)", 0, 1), [record], "micro")
    assert passed.value == pytest.approx(record["metrics"]["test/pass@4"]["mean"])
    base = judge(claim("accuracy(gspo, 'test@base')", 0, 1), [record], "micro")
    assert base.value == pytest.approx(record["metrics"]["test@base/accuracy"]["mean"])


def test_a_detail_of_a_benchmark(make_record: Make) -> None:
    record = make_record("gspo", 1)
    for benchmark, tries in (("test", 12.0), ("test@base", 4.0)):
        record["problems"][benchmark]["d"] = {"tries": [tries] * 39 + [2 * tries]}
    ratio = "detail(gspo, 'test/tries') / detail(gspo, 'test@base/tries')"
    verdict = judge(claim(ratio, 1, None), [record], "micro")
    assert verdict.value == pytest.approx(3.0) and verdict.over == "problems"
    for name, says in (("test/trys", "not kept 'trys'"), ("tset/tries", "no benchmark 'tset'")):
        with pytest.raises(ValueError, match=f"claim c: gspo seed 1 .*{says}"):
            judge(claim(f"detail(gspo, '{name}')", 1, None), [record], "micro")


def test_not_run_without_a_record_of_every_arm(pairs: list) -> None:
    gspo = [r for r in pairs if r["variant"] == "gspo"]
    for records, scale in ((gspo, "micro"), ([], "micro"), (pairs, "node8")):
        verdict = judge(claim(SCORE, 0, None, "outcome"), records, scale)
        assert verdict.result == verdict.text == "not run"
        assert verdict.value is None and verdict.seeds == ()
    disjoint = [r for r in pairs if (r["variant"], r["seed"]) in {("gspo", 1), ("grpo", 2)}]
    assert judge(claim(SCORE, 0, None), disjoint, "micro").result == "not run"


def test_only_seeds_that_all_arms_have_count(pairs: list) -> None:
    two = [r for r in pairs if (r["variant"], r["seed"]) != ("grpo", 2)]
    assert judge(claim(SCORE, 0, None), two, "micro").seeds == (1, 3)


@pytest.mark.parametrize(
    ("accuracy", "result"), [(0.95, "holds"), (0.05, "fails"), (0.5, "undecided")]
)
def test_an_outcome_judges_the_paper_at_its_scale_only(
    make_record: Make, accuracy: float, result: str
) -> None:
    micro = [make_record("gspo", s, accuracy=accuracy) for s in (1, 2, 3)]
    micro += [make_record("grpo", s, accuracy=0.5) for s in (4, 5, 6)]
    for record, seed in zip(micro, (1, 2, 3) * 2, strict=True):
        record["seed"] = seed
    outcome = claim(SCORE, 0, None, "outcome")
    verdict = judge(outcome, micro, "micro")
    assert verdict.result == result
    assert verdict.text == f"paper: not tested at paper scale; micro analogue: {result}"
    node8 = [r | {"scale": "node8"} for r in micro]
    assert judge(outcome, node8, "node8").text == result


def test_division_by_zero_is_undecided(make_record: Make) -> None:
    for clip, note in ((0.2, "inf"), (0.0, "nan")):
        records = [make_record("gspo", 1, clip=clip), make_record("grpo", 1, clip=0.0)]
        verdict = judge(claim(CLIP, 10, None), records, "micro")
        assert verdict.result == "undecided" and note in verdict.note and verdict.value is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mean(gspo, 'actor/pg_clipfrak')", "claim c: gspo seed 1 .* did you mean actor/pg_clipf"),
        ("final(gspo, 'critic/score/mean', 99)", "claim c: gspo seed 1 .* logged 30 values"),
        ("accuracy(gspo, 'tset')", "claim c: gspo seed 1 .* no benchmark 'tset'; did you mean"),
        ("pass_at(gspo, 'test', 16)", "claim c: gspo seed 1 .* 8 samples a problem"),
    ],
)
def test_a_record_without_the_measurement_is_an_error(
    make_record: Make, text: str, says: str
) -> None:
    with pytest.raises(ValueError, match=says) as error:
        judge(claim(text, 0, None), [make_record("gspo", 1)], "micro")
    assert "\n" not in str(error.value)
