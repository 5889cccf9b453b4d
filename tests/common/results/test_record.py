"""Records: schema, consistency, atomic writing, and finding edited files."""

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.results import record as records
from common.results.provenance import sha256_json

Make = Callable[..., dict[str, Any]]


def test_round_trip_is_sorted_indented_and_repeatable(make_record: Make, tmp_path: Path) -> None:
    made = make_record()
    path = records.record_path(tmp_path / "demo", made)
    records.write(made, path)
    assert path == tmp_path / "demo" / "micro" / "gspo-seed1.json"
    first = path.read_bytes()
    sealed = made | {"sha256": sha256_json(made)}
    assert json.loads(first) == sealed == records.load(path)
    assert first.decode() == json.dumps(sealed, indent=2, sort_keys=True) + "\n"
    records.write(records.load(path), path)
    assert path.read_bytes() == first
    assert os.listdir(path.parent) == [path.name]


def test_tokens_are_the_mean_over_problems_of_a_response() -> None:
    counts = {"id": ["a", "b"], "n": [2, 4], "c": [1, 0], "t": [20, 80]}
    found = records.compute_metrics({"test": counts})["test/response_tokens"]
    assert (found["mean"], found["n"]) == (15.0, 2)
    assert found["ci95"][0] < 10 and found["ci95"][1] > 20
    assert "test/response_tokens" not in records.compute_metrics({"test": counts | {"t": None}})


def test_details_are_the_mean_over_problems_of_a_response() -> None:
    counts = {"id": ["a", "b"], "n": [2, 4], "c": [1, 0], "d": {"tries": [2, 12]}}
    found = records.compute_metrics({"test": counts})["test/tries"]
    assert (found["mean"], found["n"]) == (2.0, 2) and found["ci95"][0] < 1


def test_a_summary_of_health_agrees_with_its_warnings(make_record: Make) -> None:
    fine = {"state": "healthy", "logged": 30, "warnings": []}
    records.validate(make_record(health={"entropy": fine}))
    for wrong in ({"state": "warned"}, {"state": "splendid"}, {"seen": 1}):
        with pytest.raises(ValueError, match="record.health.entropy"):
            records.validate(make_record(health={"entropy": fine | wrong}))


def test_problems_with_ratings_give_an_elo(make_record: Make) -> None:
    made = make_record()
    counts = {"id": ["a", "b", "c"], "n": [8] * 3, "c": [8, 4, 0], "r": [1000.0, 1500.0, 2000.0]}
    made["problems"]["codeforces"] = counts
    made["metrics"] = records.compute_metrics(made["problems"])
    found = made["metrics"]["codeforces/elo"]
    assert found["mean"] == pytest.approx(1500) and found["n"] == 3
    assert found["ci95"][0] < 1500 < found["ci95"][1]
    records.validate(made)
    counts["r"] = [1000.0, 1500.0]
    with pytest.raises(ValueError, match="lists of one length"):
        records.validate(made)


def test_write_leaves_the_old_file_when_the_disk_fails(
    make_record: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "r.json"
    records.write(make_record(accuracy=0.5), path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        records.write(make_record(accuracy=0.9), path)
    assert path.read_bytes() == before


def test_write_refuses_before_touching_the_disk(make_record: Make, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="gpu_hours"):
        records.write(make_record(gpu_hours=-1.0), tmp_path / "new" / "r.json")
    assert not (tmp_path / "new").exists()


def set_at(record: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split("|")
    node: Any = record
    for part in parents:
        node = node[int(part) if isinstance(node, list) else part]
    if value is ...:
        del node[last]
    else:
        node[int(last) if isinstance(node, list) else last] = value


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("schema", 2, "reads version 1"),
        ("seed", ..., "record.seed: missing"),
        ("seed", True, "not of type int"),
        ("seed", -1, "negative"),
        ("surprise", 1, "record.surprise: unknown key"),
        ("variant", "../../etc", "has not the form"),
        ("recipe", "", "has not the form"),
        ("config_sha256", "0" * 64, "not the hash"),
        ("config|recipe|seed", 9, "config_sha256"),
        ("config|recipe|seed", float("nan"), "not JSON"),
        ("prompt_template_sha256", "abc", "has not the form"),
        ("provenance|git|commit", "main", "has not the form"),
        ("provenance|git|host", "x", "git.host: unknown key"),
        ("provenance|started", "yesterday", "provenance.started"),
        ("provenance|finished", "2026-01-01T00:00:00+02:00", "provenance.finished"),
        ("provenance|hardware|cores", "2", "hardware.cores"),
        ("data|train|rows", -1, "negative"),
        ("data|train|sha256", "x" * 64, "data.train.sha256"),
        ("data|train|prompts", {"plain": "abc"}, "data.train.prompts.plain"),
        ("wall_time_s|train", -3.0, "negative"),
        ("tokens|prompt", 1.5, "tokens.prompt"),
        ("resumes", [{"at": 3}], "names the `step`"),
        ("problems|test|c|0", 9, "c=9 and u=0 of n=8"),
        ("problems|test|c|0", -1, "c=-1"),
        ("problems|test|n|0", 0, "n=0"),
        ("problems|test|id|0", "p1", "occurs twice"),
        ("problems|test|n", [8], "one length"),
        ("problems|test|u", [0], "one length"),
        ("problems|test|d", {"tries": [0.0]}, "one length"),
        ("problems|test|d", {"tries": []}, "one length"),
        ("problems|test|d", {"tries": [0.0] * 40}, "test/tries: missing"),
        ("problems|test|u", [8] * 40, "0 <= c + u <= n"),
        ("problems|test", {"id": [], "n": [], "c": []}, "at least 1"),
        ("curves|steps|1", 1, "steps increase"),
        ("curves|metrics|critic/score/mean", [1.0], "1 values for 30 steps"),
        ("curves|metrics|critic/score/mean|0", float("inf"), "not JSON"),
        ("curves|metrics|critic/score/mean|0", "0.5", "not of type float"),
        ("metrics|test/accuracy", ..., "test/accuracy: missing"),
        ("metrics|test/pass@8|n", 41, "file was edited"),
        ("metrics|test/accuracy|ci95", [0.9, 0.1], "ci95"),
        ("metrics|test/mine", {"mean": 2.0, "ci95": [0.0, 1.0], "n": 3}, "around the mean"),
    ],
)
def test_refuses_in_one_line(make_record: Make, path: str, value: Any, says: str) -> None:
    changed = copy.deepcopy(make_record())
    set_at(changed, path, value)
    with pytest.raises(ValueError) as error:
        records.validate(changed)
    assert says in str(error.value) and "\n" not in str(error.value)


def test_a_valid_record_may_hold_nulls_and_other_metrics(make_record: Make) -> None:
    made = make_record(forked_from={"recipe": "x"}, resumes=[{"step": 10}])
    made["provenance"]["git"] = {"commit": None, "dirty": None, "diff_sha256": None}
    made["metrics"]["test/words"] = {"mean": 12.0, "ci95": [11.0, 13.0], "n": 40}
    records.validate(made)


@pytest.mark.parametrize("metric", ["test/accuracy", "test/pass@4", "test@base/pass@8"])
def test_an_edited_metric_is_found(make_record: Make, tmp_path: Path, metric: str) -> None:
    path = tmp_path / "demo" / "micro" / "gspo-seed1.json"
    records.write(make_record(), path)
    edited = json.loads(path.read_text())
    edited["metrics"][metric]["mean"] += 0.001
    path.write_text(json.dumps(edited))
    with pytest.raises(ValueError, match=r"demo/micro/gspo-seed1.json: .*the file was edited"):
        records.load(path)


def test_an_edited_count_is_found_and_changes_the_metrics(make_record: Make) -> None:
    made = make_record()
    counts = made["problems"]["test"]["c"]
    counts[0] += 1 if counts[0] < 8 else -1
    with pytest.raises(ValueError, match="test/accuracy: says"):
        records.validate(made)
    before, after = made["metrics"], records.compute_metrics(made["problems"])
    step = abs(after["test/accuracy"]["mean"] - before["test/accuracy"]["mean"])
    assert step == pytest.approx(1 / (8 * 40))
    assert after["test@base/accuracy"] == before["test@base/accuracy"]


def test_compute_metrics_of_a_hand_made_benchmark() -> None:
    counts = {"id": ["a", "b", "c"], "n": [4, 4, 6], "c": [1, 4, 0]}
    metrics = records.compute_metrics({"t": counts})
    assert list(metrics) == ["t/accuracy", "t/pass@1", "t/pass@2", "t/pass@4"]
    assert metrics["t/accuracy"]["mean"] == pytest.approx((0.25 + 1 + 0) / 3)
    assert metrics["t/pass@1"] == metrics["t/accuracy"]
    assert metrics["t/pass@2"]["mean"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert metrics["t/pass@4"]["mean"] == pytest.approx(2 / 3)
    for metric in metrics.values():
        low, high = metric["ci95"]
        assert 0 <= low < metric["mean"] < high <= 1 and metric["n"] == 3


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": NaN}', '{"schema": 1}', "\x00"])
def test_load_all_names_a_broken_file(make_record: Make, tmp_path: Path, text: str) -> None:
    folder = tmp_path / "demo"
    records.write(make_record(), folder / "micro" / "gspo-seed1.json")
    (folder / "micro" / "grpo-seed2.json").write_text(text)
    with pytest.raises(ValueError, match=r"demo/micro/grpo-seed2.json: ") as error:
        records.load_all(folder)
    assert "\n" not in str(error.value)


def test_load_all_sorts_and_reads_nothing_else(make_record: Make, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    assert records.load_all(folder) == []
    for variant, seed, scale in (("b", 2, "micro"), ("b", 10, "micro"), ("a", 1, "node8")):
        made = make_record(variant, seed, scale)
        records.write(made, records.record_path(folder, made))
    (folder / "README.md").write_text("x")
    found = [(r["scale"], r["variant"], r["seed"]) for r in records.load_all(folder)]
    assert found == [("micro", "b", 2), ("micro", "b", 10), ("node8", "a", 1)]


def test_load_all_refuses_a_record_in_the_wrong_place(make_record: Make, tmp_path: Path) -> None:
    records.write(make_record(seed=2), tmp_path / "demo" / "micro" / "gspo-seed1.json")
    with pytest.raises(ValueError, match="holds demo/micro/gspo seed 2"):
        records.load_all(tmp_path / "demo")
    records.write(make_record(seed=1), tmp_path / "other" / "micro" / "gspo-seed1.json")
    with pytest.raises(ValueError, match="holds demo/micro/gspo seed 1"):
        records.load_all(tmp_path / "other")


def test_load_all_refuses_a_run_with_overrides(make_record: Make, tmp_path: Path) -> None:
    made = make_record(overrides=["trainer.total_training_steps=3"])
    records.write(made, records.record_path(tmp_path / "demo", made))
    with pytest.raises(ValueError, match="total_training_steps=3.*not published"):
        records.load_all(tmp_path / "demo")


def test_config_hash_is_the_canonical_one(make_record: Make) -> None:
    made = make_record()
    made["config"]["b"] = {"y": 1, "x": [1, 2]}
    made["config_sha256"] = sha256_json({**dict(reversed(made["config"].items()))})
    records.validate(made)
