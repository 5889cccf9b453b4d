"""`common analyse` on a fabricated recipe: every analysis writes its page, figure and JSON."""

import json

import matplotlib.image
import pytest

from common import cli
from common.analysis.command import ANALYSES
from common.config import recipe_folder
from common.results import report
from common.results.record import compute_metrics

pytestmark = pytest.mark.component
OPTIONS = {
    "limem": ["--original", "test", "--perturbed", "swapped"],
    "coverage": ["--k", "4"],
    "forks": ["--responses", "6"],
}
MODELS = ("forks", "distance")  # which load a model for each run


def in_two_parts(results):
    """Name the benchmarks of the records as those of questions to answer or to refuse."""
    parts = {"test": "asked, answerable", "swapped": "asked, unanswerable"}
    for path in results.glob("demo/micro/*-seed*.json"):
        record = json.loads(path.read_text())
        named = {}
        for name, counts in record["problems"].items():
            benchmark, at, _ = name.partition("@")
            named[parts[benchmark] + (at and "@base")] = counts
        path.write_text(json.dumps(record | {"problems": named, "metrics": compute_metrics(named)}))


@pytest.mark.parametrize("name", ANALYSES)
def test_every_analysis_writes_and_prints(recipe, request, capsys, name):
    if name == "refusal":
        in_two_parts(recipe.results)
    if name in MODELS:
        model = request.getfixturevalue("checkpoint")
        for run in recipe.runs.glob("demo/micro/*/seed*"):  # of which `distance` reads the base
            (run / "sft").mkdir()
            (run / "sft" / "model").symlink_to(model)
            (run / "start").symlink_to("sft")
    assert cli.main(["analyse", name, recipe.name, *OPTIONS.get(name, [])]) == 0
    printed = capsys.readouterr()
    assert "nsr" in printed.out and f"analysis/{name}.md" in printed.err
    folder = recipe.results / "demo/micro/analysis"
    page = (folder / f"{name}.md").read_text()
    assert f"`python -m common analyse {name} {recipe.name}" in page
    assert f"({name}.png)" in page and "| psr" in page
    json.loads((folder / f"{name}.json").read_text())
    assert f"(micro/analysis/{name}.png)" in (recipe.results / "demo/README.md").read_text()
    first = (folder / f"{name}.png").read_bytes()
    height, width, _ = matplotlib.image.imread(folder / f"{name}.png").shape
    assert width > 400 and height > 150
    if name in MODELS:
        return
    assert cli.main(["analyse", name, recipe.name, *OPTIONS.get(name, [])]) == 0
    assert (folder / f"{name}.png").read_bytes() == first
    assert (folder / f"{name}.md").read_text() == page


def test_publishing_makes_the_analyses_of_records_again(recipe, capsys, monkeypatch):
    """Whoever trains an arm again finds no analysis of the run before."""
    monkeypatch.setattr(report, "RESULTS", recipe.results)
    monkeypatch.setattr(report, "write_index", lambda made: None)
    for name in ("entropy", "tokens"):  # the second is of responses, which may be gone
        assert cli.main(["analyse", name, recipe.name]) == 0
    folder = recipe.results / "demo/micro/analysis"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    report.publish(recipe_folder(recipe.name))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (recipe.results / "demo/micro/psr-seed2.json").unlink()
    report.publish(recipe_folder(recipe.name))
    after = {path.name for path in folder.iterdir() if path.read_bytes() != before[path.name]}
    assert after == {"entropy.json", "entropy.md", "entropy.png"}
    found = json.loads((folder / "entropy.json").read_text())
    (folder / "entropy.json").write_text(json.dumps(found | {"command": "python -m common html"}))
    capsys.readouterr()
    report.publish(recipe_folder(recipe.name))
    assert "entropy.json is not of these records" in capsys.readouterr().err


def values(recipe, capsys, *words):
    assert cli.main(["analyse", *words, recipe.name, "--json"]) == 0
    return json.loads(capsys.readouterr().out)["micro"]


def test_json_of_passk_agrees_with_the_records(recipe, capsys):
    found = values(recipe, capsys, "passk")["test"]
    assert found["k"] == [1, 2, 4, 8] and found["problems"] == 30
    record = json.loads((recipe.results / "demo/micro/psr-seed1.json").read_text())
    other = json.loads((recipe.results / "demo/micro/psr-seed2.json").read_text())
    for k, entry in zip(found["k"], found["models"]["psr"]["pass@k"], strict=True):
        means = [r["metrics"][f"test/pass@{k}"]["mean"] for r in (record, other)]
        assert entry["value"] == pytest.approx(sum(means) / 2)
        assert entry["over"] == "seeds"
    assert found["models"]["psr"]["difference"][0]["value"] > 0.2


def test_json_of_words_and_languages_counts_the_planted_ones(recipe, capsys):
    # every response with `Wait` has the reward 1 and no other; every one with Chinese has -0.5
    word = values(recipe, capsys, "tokens")["test"]["psr"]["wait"]
    assert word["mean_with"] == 1.0 and -1 < word["mean_without"] < -0.5
    assert word["n_with"] + word["n_without"] == 480
    chinese = values(recipe, capsys, "languages")["test"]["psr"]
    assert chinese["any Chinese"]["mean_with"] == chinese["mixed"]["mean_with"] == -0.5
    assert chinese["responses"] == 480


def test_json_of_transfer_shows_what_the_substring_accepts(recipe, capsys):
    found = values(recipe, capsys, "transfer")["test"]["psr seed 1"]
    # a gold followed by a zero is accepted as published and wrong by the strict grader
    assert found["published"]["after"] > found["strict"]["after"] > 0
    assert found["strict"]["problems_after"] == 30


def test_json_of_the_fit_recovers_the_planted_line(recipe, capsys):
    fit = values(recipe, capsys, "entropy")["fits"]["nsr seed 1"]["group/correct"]
    assert (fit["a"], fit["b"], fit["at_zero"]) == pytest.approx((1.5, 2.5, 1.0))


def test_an_arm_without_a_policy_entropy_is_named_and_left_out(recipe, capsys):
    paths = sorted((recipe.results / "demo/micro").glob("*.json"))
    for path in (p for p in paths if p.name.startswith("psr")):
        record = json.loads(path.read_text())
        del record["curves"]["metrics"]["actor/entropy"]
        path.write_text(json.dumps(record))
    assert set(values(recipe, capsys, "entropy")["fits"]) == {"nsr seed 1", "nsr seed 2"}
    page = (recipe.results / "demo/micro/analysis/entropy.md").read_text()
    assert "`actor/entropy` was not logged: psr." in page
    for path in (p for p in paths if p.name.startswith("nsr")):
        path.unlink()
    assert cli.main(["analyse", "entropy", recipe.name]) == 2
    assert "psr seed 1 has not logged actor/entropy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["passk", "scale=node8"], "`python -m common run demo scale=node8` makes it"),
        (["tokens", "--benchmarks", "aime"], "no benchmark 'aime'"),
        (["limem", "--original", "test", "--perturbed", "x"], "no benchmark 'x'"),
        (["forks"], "the checkpoint is gone; `python -m common run demo"),
        (["coverage", "--k", "9"], "--k 9: there are 8 samples"),
    ],
)
def test_what_is_missing_is_one_line(recipe, capsys, words, text):
    assert cli.main(["analyse", words[0], recipe.name, *words[1:]]) == 2
    error = capsys.readouterr().err
    assert text in error and error.count("\n") == 1
