"""The results page: its rows, what it says where nothing is known, and equal bytes."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from common.results import tables
from common.results.page import render_markdown
from common.results.paper import load_paper
from common.results.record import compute_metrics, record_path, write
from common.results.rows import Row

Make = Callable[..., dict[str, Any]]


def publish(recipe: Path, *made: dict[str, Any]) -> Path:
    results = recipe.parent.parent / "results"
    for record in made:
        write(record, record_path(results / recipe.name, record))
    return results


def find(report: tables.Report, metric: str, variant: str, scale: str = "micro") -> Row:
    (row,) = [r for r in report.rows if (r.metric, r.variant, r.scale) == (metric, variant, scale)]
    return row


def line(page: str, metric: str, variant: str, scale: str = "micro") -> list[str]:
    """Cells of the one row of the results table."""
    lines = page.partition("## All numbers")[2].partition("## Numbers of")[0].splitlines()
    cells = [[cell.strip() for cell in text.strip("|").split(" | ")] for text in lines]
    (found,) = [c for c in cells if c[:2] == [metric, variant] and c[6] == scale]
    return found


@pytest.fixture
def three_seeds(recipe: Path, make_record: Make) -> Path:
    made = [make_record("gspo", s, clip=0.2) for s in (1, 2, 3)]
    return publish(recipe, *made, make_record("grpo", 1, clip=0.002, accuracy=0.4))


def test_rows_of_an_arm_with_three_seeds(recipe: Path, three_seeds: Path) -> None:
    report = tables.build_report(recipe, three_seeds)
    row = find(report, "accuracy", "gspo")
    stored = [
        json.loads((three_seeds / "demo" / "micro" / f"gspo-seed{s}.json").read_text())
        for s in (1, 2, 3)
    ]
    means = [r["metrics"]["test/accuracy"]["mean"] for r in stored]
    assert row.ours is not None and row.ours.value == pytest.approx(np.mean(means))
    assert row.ours.over == "seeds" and row.seeds == (1, 2, 3) and row.benchmark == "test"
    assert row.records == tuple(f"micro/gspo-seed{s}.json" for s in (1, 2, 3))
    wall = find(report, "wall_time_s", "gspo").ours
    assert wall is not None and wall.value == pytest.approx(222)
    rate = find(report, "actor_rollout_ref.actor.optim.lr", "gspo").ours
    assert rate is not None and (rate.value, rate.interval) == (1e-4, None)


def test_rows_wanted_of_every_recipe(recipe: Path, three_seeds: Path) -> None:
    report = tables.build_report(recipe, three_seeds)
    found = {(r.metric, r.variant) for r in report.rows if r.scale == "micro"}
    metrics = ["accuracy", "pass@2", "pass@4", "pass@8"]
    assert {(m, v) for m in metrics for v in ("before RL", "gspo", "grpo", "never")} <= found
    curves = ["actor/pg_clipfrac", "actor/token_log_ratio_var", "actor/sequence_log_ratio_var"]
    others = ["response_length/mean", "wall_time_s", "actor_rollout_ref.actor.optim.lr"]
    assert {(m, v) for m in curves + others for v in ("gspo", "grpo", "never")} <= found
    assert not [m for m, v in found if v == "before RL" and m not in metrics]
    assert "pass@1" not in {m for m, _ in found}


def test_page_at_micro(recipe: Path, three_seeds: Path) -> None:
    page = render_markdown(tables.build_report(recipe, three_seeds))
    clip = line(page, "clip fraction", "gspo")
    assert clip[2] == "0.15 (secondary)"
    assert clip[3].startswith("0.") and clip[3].endswith("] over seeds")
    assert clip[4:7] == ["other scale", "3 (1, 2, 3)", "micro"]
    assert "[seed 2](micro/gspo-seed2.json)" in clip[7]
    one = line(page, "clip fraction", "grpo")
    assert one[2] == "not printed"
    assert one[3].endswith("] over steps") and one[4:6] == ["-", "1 (1)"]
    score = line(page, "accuracy, test (40 problems)", "grpo")
    assert score[3].endswith("] over problems")
    assert "- not run at micro: `never`" in page and "| never |" not in page
    base = line(page, "accuracy, test (40 problems)", "before RL")
    assert base[5] == "3 (1, 2, 3)"
    assert "- not run at node8: nothing yet" in page
    assert "| accuracy, aime24 | gspo | 70 | % | printed | Table 1 |  |" in page
    assert "`python -m common table demo` from 4 records; code at commit aaaaaaaaaa" in page
    assert "![Training curves, micro/curves.png](micro/curves.png)" in page


def test_verdicts_on_the_page(recipe: Path, three_seeds: Path) -> None:
    page = render_markdown(tables.build_report(recipe, three_seeds))
    clip, score = [
        text.strip("| ").split(" | ")
        for key in ("clip: ", "score: ")
        for text in page.splitlines()
        if key in text
    ]
    assert clip[1] == "holds" and "informed by pilot" in clip[0]
    assert clip[3:] == ["at least 10", "115 (0.15 over 0.0013)", "mechanism", "1 (1)", "micro"]
    assert score[4] == "not printed (a curve \\| no number)"
    assert score[1] == "paper: not tested at paper scale; micro analogue: holds"
    assert "At micro: 2 hold." in page and "- not run at node8: all 2 claims" in page


def test_the_page_goes_from_verdicts_to_all_numbers(recipe: Path, three_seeds: Path) -> None:
    folder = three_seeds / "demo" / "micro" / "analysis"
    folder.mkdir()
    (folder / "passk.md").write_text("# pass@k of demo\n\ntext\n")
    page = render_markdown(tables.build_report(recipe, three_seeds))
    heads = [text[3:] for text in page.splitlines() if text.startswith("## ")]
    assert heads[:4] == ["Claims", "In short", "Figures", "All numbers"]
    short = page.partition("## In short")[2].partition("## Figures")[0].strip().splitlines()
    assert short[2] == "| variant | accuracy, test | seeds |"
    rows = [cells.strip("| ").split(" | ") for cells in short[4:]]
    assert [r[0] for r in rows] == ["before RL", "grpo", "gspo"]
    assert [r[-1] for r in rows] == ["3 (1, 2, 3)", "1 (1)", "3 (1, 2, 3)"]
    assert "[pass@k of demo](micro/analysis/passk.md):" in page
    assert "![pass@k of demo](micro/analysis/passk.png)" in page


def test_equal_records_give_equal_bytes_and_a_changed_one_does_not(
    recipe: Path, three_seeds: Path, make_record: Make
) -> None:
    first = render_markdown(tables.build_report(recipe, three_seeds))
    assert render_markdown(tables.build_report(recipe, three_seeds)) == first
    publish(recipe, make_record("gspo", 3, accuracy=0.9))
    assert render_markdown(tables.build_report(recipe, three_seeds)) != first


def test_one_count_changes_the_table(recipe: Path, make_record: Make) -> None:
    from common.results.record import compute_metrics

    made = make_record("gspo", 1)
    results = publish(recipe, made)
    before = find(tables.build_report(recipe, results), "accuracy", "gspo").ours
    made["problems"]["test"]["c"][0] -= 1
    publish(recipe, made | {"metrics": compute_metrics(made["problems"])})
    after = find(tables.build_report(recipe, results), "accuracy", "gspo").ours
    assert before is not None and after is not None
    assert before.value - after.value == pytest.approx(1 / 320)


def test_the_papers_scale_is_compared_in_the_papers_unit(recipe: Path, make_record: Make) -> None:
    made = make_record("gspo", 1, "node8", accuracy=0.72, benchmark="aime24", clip=0.16)
    report = tables.build_report(recipe, publish(recipe, made))
    row = find(report, "accuracy", "gspo", "node8")
    assert row.ours is not None and row.difference == pytest.approx(100 * row.ours.value - 70)
    base = find(report, "accuracy", "before RL", "node8")
    assert base.ours is not None and base.difference == pytest.approx(100 * base.ours.value - 50)
    clip = find(report, "actor/pg_clipfrac", "gspo", "node8")
    assert clip.ours is not None and clip.difference == pytest.approx(clip.ours.value - 0.15)
    page = render_markdown(report)
    cells = line(page, "accuracy, aime24 (40 problems)", "gspo", "node8")
    assert cells[4] == f"{row.difference:+.4g}" and " % [" in cells[3]


def test_no_record_at_all(recipe: Path) -> None:
    report = tables.build_report(recipe, recipe.parent / "nothing")
    assert {r.scale for r in report.rows} == {"node8"} and len(report.rows) == 4
    assert {r.missing for r in report.rows} == {"not run"}
    page = render_markdown(report)
    assert "from no record yet" in page and "## Figures\n\nnot run" in page
    assert {v.result for v in report.verdicts} == {"not run"}


def test_arms_with_their_own_base_get_their_own_rows(recipe: Path, make_record: Make) -> None:
    from common.results.record import compute_metrics

    gspo, grpo = make_record("gspo", 1), make_record("grpo", 1)
    grpo["problems"]["test@base"]["c"] = [0] * 40
    grpo["metrics"] = compute_metrics(grpo["problems"])
    report = tables.build_report(recipe, publish(recipe, gspo, grpo))
    first, second = (find(report, "accuracy", f"before RL, {arm}").ours for arm in ("gspo", "grpo"))
    assert first is not None and second is not None and first.value > second.value == 0


def test_a_metric_that_an_arm_lacks_is_not_called_not_run(recipe: Path, make_record: Make) -> None:
    grpo = make_record("grpo", 1)
    del grpo["curves"]["metrics"]["actor/token_log_ratio_var"]
    report = tables.build_report(recipe, publish(recipe, make_record("gspo", 1), grpo))
    assert find(report, "actor/token_log_ratio_var", "grpo").missing == "not measured"
    assert find(report, "actor/token_log_ratio_var", "never").missing == "not run"


def test_an_interval_of_a_share_stays_within_0_and_1(recipe: Path, make_record: Make) -> None:
    made = [make_record("gspo", seed, accuracy=a) for seed, a in ((1, 0.05), (2, 0.95))]
    report = tables.build_report(recipe, publish(recipe, *made))
    ours = find(report, "accuracy", "gspo").ours
    assert ours is not None and ours.interval == (0, 1)
    wall = find(report, "wall_time_s", "gspo").ours
    assert wall is not None and wall.interval is not None and wall.interval[0] > 1


def test_seeds_with_different_settings_are_refused(recipe: Path, make_record: Make) -> None:
    results = publish(recipe, make_record("gspo", 1, lr=1e-4), make_record("gspo", 2, lr=3e-4))
    with pytest.raises(ValueError, match="gspo at micro: .*optim.lr differs between seeds"):
        tables.build_report(recipe, results)


def test_local_changes_are_said(recipe: Path, make_record: Make) -> None:
    made = make_record("gspo", 1)
    made["provenance"]["git"] = {"commit": "b" * 40, "dirty": True, "diff_sha256": "c" * 64}
    page = render_markdown(tables.build_report(recipe, publish(recipe, made)))
    assert "code at commit bbbbbbbbbb + local changes" in page


def test_a_seed_of_two_kinds_of_machine_is_said(recipe: Path, make_record: Make) -> None:
    made = [make_record(arm, seed) for seed in (1, 2) for arm in ("grpo", "gspo")]
    assert "another machine" not in render_markdown(
        tables.build_report(recipe, publish(recipe, *made))
    )
    made[1]["provenance"]["hardware"]["cpu"] = "slow CPU"
    page = render_markdown(tables.build_report(recipe, publish(recipe, *made)))
    (line,) = [line for line in page.splitlines() if "another machine" in line]
    assert (
        line.startswith("- seed 1 at micro has `grpo` on ")
        and "`gspo` on 2 cores of slow CPU" in line
    )


def test_terminal_shows_what_ran(recipe: Path, three_seeds: Path) -> None:
    report = tables.build_report(recipe, three_seeds)

    def printed(shown: tables.Report, width: int = 400) -> str:
        out = io.StringIO()
        tables.render_terminal(shown, Console(file=out, width=width))
        return out.getvalue()

    text = printed(report)
    ran = [row for row in report.rows if row.ours]
    assert ran and {row.scale for row in ran} == {"micro"}
    for row in ran:
        assert row.variant in text and f"{row.ours.value:.4g}" in text
    assert "demo at micro" in text and "claims at micro" in text and "node8" not in text
    assert "over seeds" in text and "micro analogue: holds" in text
    assert "from 4 records; code at commit aaaaaaaaaa" in text
    assert "demo at micro" not in printed(replace(report, rows=[]))
    assert max(map(len, printed(report, 100).splitlines())) <= 100


def test_json_is_strict_and_holds_the_verdicts(recipe: Path, make_record: Make) -> None:
    made = [make_record(v, 1, steps=2, clip=c) for v, c in (("gspo", 0.2), ("grpo", 0.002))]
    report = tables.build_report(recipe, publish(recipe, *made))
    plain = json.loads(json.dumps(report.as_json(), allow_nan=False))
    clip = next(r for r in plain["rows"] if r["metric"] == "actor/pg_clipfrac")
    assert clip["ours"]["interval"] == [None, None]  # two steps say nothing
    verdict = plain["verdicts"][0]
    assert verdict["claim"]["id"] == "clip" and verdict["verdict"] == "undecided"
    assert "(no interval: unbounded steps)" not in render_markdown(report)
    assert "too few steps" in render_markdown(report)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("metric,variant", "metrik,variant", "columns"),
        (",0.15,", ",about 0.15,", "line 2: value 'about 0.15' is no number"),
        (",secondary,read off", ",secondary,read, off", "line 2: not 8 cells"),
        (",secondary,read off", ",secondary", "line 2: not 8 cells"),
        ("accuracy,gspo,aime24", "accuracy,gspo,", "line 3: .* name a benchmark"),
        ("actor/pg_clipfrac,gspo,,", "actor/pg_clipfrac,gspo,aime24,", "line 2: .*benchmark"),
        ("accuracy,before RL,aime24", "accuracy,gspo,aime24", "line 4: .*occurs twice"),
    ],
)
def test_load_paper_refuses(recipe: Path, old: str, new: str, says: str) -> None:
    path = recipe / "paper.csv"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=says) as error:
        load_paper(path)
    assert "\n" not in str(error.value)


def test_ungradable_samples_have_a_row_where_there_are_any(recipe: Path, make_record: Make) -> None:
    hung = make_record("gspo", accuracy=0.2)
    counts = hung["problems"]["test"]
    counts["u"] = [n - c for n, c in zip(counts["n"], counts["c"], strict=True)]
    hung["metrics"] = compute_metrics(hung["problems"])
    results = publish(recipe, hung, make_record("grpo"))
    report = tables.build_report(recipe, results)
    found, none = (find(report, "ungradable", arm).ours for arm in ("gspo", "grpo"))
    assert found is not None and none is not None
    accuracy = hung["metrics"]["test/accuracy"]["mean"]
    assert found.value == pytest.approx(1 - accuracy) and none.value == 0.0
    assert line(render_markdown(report), "ungradable, test (40 problems)", "gspo")
    without = tables.build_report(recipe, publish(recipe, make_record("gspo")))
    assert all(row.metric != "ungradable" for row in without.rows)


def test_a_column_in_short_has_one_unit(recipe: Path, three_seeds: Path) -> None:
    with (recipe / "paper.csv").open("a") as file:
        file.write("accuracy,gspo,test,61.5,%,Table 9,printed,\n")
    page = render_markdown(tables.build_report(recipe, three_seeds))
    short = page.partition("## In short")[2].partition("## Figures")[0].strip().splitlines()
    ours = [text.strip("| ").split(" | ")[2] for text in short[4:]]
    assert len(ours) == 3 and all(" % [" in cell for cell in ours), ours
