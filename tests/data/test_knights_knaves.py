"""Knights & Knaves: the published puzzles come out again, and every puzzle has one solution."""

import hashlib
import itertools
import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency

from common.rewards.registry import get_grader
from data import knights_knaves as kk
from data import logic_rl, prompts
from data.knights_knaves_logic import Puzzle, consistent_worlds, signature, solve
from data.knights_knaves_stream import Stream
from data.knights_knaves_symbols import Symbols
from data.knights_knaves_text import UNCOMMON_NAMES, read_quiz, write_quiz
from data.parquet import MESSAGE_COLUMNS, PROMPT_COLUMNS, read_parquet
from tests.data.built import check_seeds

PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "data" / "kk_logic_rl"
SMALL = {
    "people": [2, 3, 5],
    "train": [30, 60, 60],
    "validation": 10,
    "test": 20,
    "perturbed": kk.PERTURBATIONS,
}
TINY = {
    "people": [2, 3],
    "train": [30, 60],
    "validation": 10,
    "test": 20,
    "perturbed": ["reordered"],
    "symbols": {},
    "sft": [30, 200],
    "sft_noisy": [30, 200],
    "noise": 0.08,
}


def says(statement, world):
    """A statement's truth in a world (True: knight), by its meaning and one world at a time."""
    kind = statement[0]
    if kind == "telling-truth":
        return world[statement[1]]
    if kind == "lying":
        return not world[statement[1]]
    values = [says(s, world) for s in statement[1:]]
    if kind == "not":
        return not values[0]
    if kind == "and":
        return all(values)
    if kind == "or":
        return any(values)
    if kind == "->":
        return values[1] if values[0] else True
    assert kind == "<=>"
    return values[0] == values[1]


def brute_force(statements):
    """All solutions, by looking at every world."""
    worlds = itertools.product((True, False), repeat=len(statements))
    return [
        world
        for world in worlds
        if all(says(s, world) == is_knight for s, is_knight in zip(statements, world, strict=True))
    ]


@pytest.fixture(scope="module")
def published():
    if not PUBLISHED.is_dir():
        pytest.skip("needs the published puzzles")
    rows = {n: {} for n in range(3, 8)}
    for people, by_index in rows.items():
        columns = ["quiz", "names", "solution", "solution_text_format", "statements", "index"]
        table = pq.read_table(PUBLISHED / f"{people}ppl_train.parquet", columns=columns)
        by_index.update({row["index"]: row for row in table.to_pylist()})
    for line in (PUBLISHED / "test.jsonl").read_text().splitlines():
        row = json.loads(line)
        rows[row["ppl"]][row["index"]] = row
    assert sum(map(len, rows.values())) == 5000
    return rows


@pytest.fixture(scope="module")
def ours():
    """The puzzles of the published seed, by number of people."""
    return {n: kk.Sampler(logic_rl.PUBLISHED_SEED, n).puzzles(1100) for n in range(3, 8)}


def test_published_puzzles_read_back_have_one_solution_the_stored_one(published):
    for by_index in published.values():
        for row in by_index.values():
            names, statements = read_quiz(row["quiz"])
            assert names == tuple(row["names"])
            assert str(statements) == row["statements"]
            assert brute_force(statements) == [tuple(row["solution"])]
            assert solve(statements) == tuple(row["solution"])


def test_the_published_seed_gives_the_published_puzzles_word_for_word(published, ours):
    for people, by_index in published.items():
        for index, row in by_index.items():
            puzzle = ours[people][index]
            quiz = write_quiz(puzzle, logic_rl.PUBLISHED_SEED + index)
            assert str(puzzle.statements) == row["statements"]
            assert (quiz.text, quiz.names) == (row["quiz"], tuple(row["names"]))
            assert quiz.solution_text == row["solution_text_format"]


# With two people and 30 puzzles; from a public run of mem-kk-logic's data_gen_kk.py
# (dujh22/mem-kk-logic @ 86b801d, data_prep/data/test). T and L: telling-truth, lying; None: the
# original found no perturbation.
T, L = "telling-truth", "lying"
PUBLIC_RUN = [
    ((("not", (T, 1)), ("<=>", (T, 1), (L, 0))), (0, (T, 1)), (0, ("not", (L, 1)))),
    (
        (("->", (T, 1), (L, 1)), ("and", (T, 0), (T, 1))),
        (0, ("<=>", (T, 1), (T, 0))),
        None,
    ),
    ((("or", (T, 0), (T, 1)), (L, 0)), (1, ("or", (L, 0), (T, 0))), None),
    ((("->", (T, 1), (T, 0)), ("not", (L, 0))), (0, ("<=>", (L, 1), (T, 0))), None),
    (
        (("->", (T, 1), (L, 1)), ("or", (L, 0), (T, 0))),
        (0, (T, 1)),
        (0, ("->", (L, 1), (L, 1))),
    ),
]


def test_perturbations_are_those_of_a_public_run():
    sampler = kk.Sampler(logic_rl.PUBLISHED_SEED, 2)
    puzzles = sampler.puzzles(30)
    perturbed = {kind: [sampler.perturbed(p, kind) for p in puzzles] for kind in kk.RESAMPLED}
    for i, (statements, by_statement, by_leaf) in enumerate(PUBLIC_RUN):
        assert puzzles[i].statements == statements
        for kind, change in (("statement", by_statement), ("leaf", by_leaf)):
            found = perturbed[kind][i]
            if change is None:
                assert found is None
            else:
                person, new = change
                expected = list(statements)
                expected[person] = new
                assert found.statements == tuple(expected)


@pytest.mark.parametrize("people", range(2, 9))
def test_generated_puzzles_have_one_solution_and_read_back(people):
    sampler = kk.Sampler(7, people)
    puzzles = sampler.puzzles(40)
    assert len({p.statements for p in puzzles}) == 40
    for i, puzzle in enumerate(puzzles):
        assert brute_force(puzzle.statements) == [puzzle.solution]
        for options in (
            {},
            {"reorder": True},
            {"flip_roles": True},
            {"names": UNCOMMON_NAMES},
        ):
            quiz = write_quiz(puzzle, i, **options)
            assert read_quiz(quiz.text) == (quiz.names, puzzle.statements)
            honest = "knave" if options.get("flip_roles") else "knight"
            assert tuple(role == honest for role in quiz.answer.values()) == puzzle.solution
        plain, reordered = write_quiz(puzzle, i), write_quiz(puzzle, i, reorder=True)
        assert plain.text != reordered.text and plain.answer == reordered.answer
        assert Counter(plain.text.split()) == Counter(reordered.text.split())
        for kind in kk.RESAMPLED:
            changed = sampler.perturbed(puzzle, kind)
            if changed:
                assert brute_force(changed.statements) == [changed.solution]
                assert changed.solution != puzzle.solution
                pairs = zip(puzzle.statements, changed.statements, strict=True)
                (old, new), *others = [(a, b) for a, b in pairs if a != b]
                assert not others
                assert kind == "statement" or old[0] == new[0] or len(old) == len(new) == 2


def statement_types(puzzles):
    return Counter(s[0] for statements in puzzles for s in statements)


def chi_square_p(a, b):
    kinds = sorted(set(a) | set(b))
    return chi2_contingency([[a[k] for k in kinds], [b[k] for k in kinds]]).pvalue


def test_statement_types_are_distributed_as_published(published):
    """Seeds are fixed, so this cannot flake; five tests at p >= 0.001 keep a wrong sampler out."""
    for people, by_index in published.items():
        real = statement_types(read_quiz(row["quiz"])[1] for row in by_index.values())
        sampler = kk.Sampler(2024, people)
        same = statement_types(p.statements for p in sampler.puzzles(4000))
        assert chi_square_p(real, same) >= 0.001
        # the test can fail: it finds a sampler that says "or" in place of every fourth "and"
        wrong = same + Counter({"or": same["and"] // 4})
        wrong["and"] -= same["and"] // 4
        assert chi_square_p(real, wrong) < 0.001


def test_the_stream_draws_what_numpy_draws():
    for seed in range(50):
        numpy, stream = np.random.default_rng(seed), Stream(seed)
        for bound in (6, 2, 8, 1, 18, 51, 1000, 3 * 2**30):
            assert numpy.integers(bound) == stream.below(bound)
        assert numpy.choice(51, size=6, replace=False).tolist() == stream.sample(51, 6)
        theirs, values = list(range(8)), list(range(8))
        numpy.shuffle(theirs)
        stream.shuffle(values)
        assert theirs == values


@given(st.integers(2, 8), st.integers(0, 10**6), st.randoms())
@settings(max_examples=60)
def test_renamed_people_share_a_signature(people, seed, rng):
    statements = kk.Sampler(seed, people).puzzle(set()).statements
    place = list(range(people))
    rng.shuffle(place)

    def renamed(statement):
        if statement[0] in (T, L):
            return statement[0], place[statement[1]]
        sides = [renamed(s) for s in statement[1:]]
        return (statement[0], *(sides[::-1] if statement[0] in ("and", "or", "<=>") else sides))

    moved = [None] * people
    for speaker, statement in enumerate(statements):
        moved[place[speaker]] = renamed(statement)
    assert signature(tuple(moved)) == signature(statements)


def test_signatures_tell_different_puzzles_apart():
    puzzles = kk.Sampler(3, 5).puzzles(500)
    assert len({signature(p.statements) for p in puzzles}) > 490


def rows_of(folder, name):
    return read_parquet(folder / f"{name}.parquet", PROMPT_COLUMNS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("kk")
    kk.build(path, 1, **SMALL)
    return path


def test_rows_hold_their_puzzle_and_its_answer(folder):
    for name in ("train", "validation", "test", *(f"train_{k}" for k in kk.PERTURBATIONS)):
        rows = rows_of(folder, name)
        texts = [row["prompt"][0]["content"] for row in rows]
        assert len(set(texts)) == len(texts)
        for row, text in zip(rows, texts, strict=True):
            gold = json.loads(row["reward_model"]["ground_truth"])
            names, statements = read_quiz(text)
            honest = "knave" if name == "train_flipped_roles" else "knight"
            assert tuple(gold) == names
            assert brute_force(statements) == [tuple(gold[n] == honest for n in names)]
            assert row["extra_info"]["statements"] == str(statements)
            assert row["extra_info"]["people"] == len(names)
            assert row["ability"] == "logic" and row["data_source"] == "knights_knaves"


def test_held_out_puzzles_are_nobody_elses_under_other_names(folder):
    found = {
        name: [signature(read_quiz(r["prompt"][0]["content"])[1]) for r in rows_of(folder, name)]
        for name in ("train", "validation", "test")
    }
    assert [len(found[n]) for n in ("train", "validation", "test")] == [150, 30, 60]
    assert not set(found["test"]) & set(found["validation"] + found["train"])
    assert not set(found["validation"]) & set(found["train"])


def test_a_perturbed_row_is_its_originals_with_one_change(folder):
    originals = {row["extra_info"]["index"]: row for row in rows_of(folder, "train")}
    for kind in kk.PERTURBATIONS:
        rows = rows_of(folder, f"train_{kind}")
        assert len(rows) > 100
        for row in rows:
            original = originals[row["extra_info"]["index"]]
            names, statements = read_quiz(row["prompt"][0]["content"])
            old_names, old = read_quiz(original["prompt"][0]["content"])
            assert (names == old_names) == (kind != "uncommon_names")
            assert sum(a != b for a, b in zip(statements, old, strict=True)) == (
                kind in kk.RESAMPLED
            )


def test_equal_seeds_give_equal_bytes_and_held_out_rows_never_change(tmp_path, folder):
    check_seeds(kk.build, SMALL, folder, tmp_path)


GOLDEN = {
    "words": "184f5dbc88c3daf6ee690b66d20d102ecd0c768094f5064ef930f2c33231bdd1",
    "symbols": "302bf646fceb1e845031c24645afc78f93c78b178a7e5a75b9407c3efb78259a",
}


@pytest.mark.parametrize(("name", "options"), [("words", SMALL), ("symbols", TINY)])
def test_golden_sha256(tmp_path, name, options):
    """Of the rows, not of the parquet bytes: those carry the version of their library."""
    kk.build(tmp_path, 1, **options)
    rows = {p.stem: read_parquet(p, ()) for p in sorted(tmp_path.glob("*.parquet"))}
    people = [name for name in sorted(rows) if name.startswith("test_")]
    assert list(itertools.chain(*(rows.pop(name) for name in people))) == rows["test"]
    for row in itertools.chain(*rows.values()):
        row.get("extra_info", {}).pop("template", None)  # has a sha256 of its own
    text = json.dumps(rows, sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest() == GOLDEN[name]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"people": [2], "train": 390}, "people"),
        ({"people": [9], "train": 5}, "2 to 8"),
        ({"perturbed": ["spelling"]}, "no 'spelling'"),
        ({"train": [1, 2]}, "2 counts"),
        ({"sft": 3}, "symbols"),
        ({"symbols": {"true": "k"}, "perturbed": []}, "used twice"),
        ({"symbols": {}}, "no 'flipped_roles'"),
    ],
)
def test_an_impossible_request_is_refused_in_one_line(tmp_path, change, words):
    with pytest.raises(ValueError, match=words) as error:
        kk.build(tmp_path, 1, **(SMALL | change))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A very special island",
        "{0} Noah said so. So who is a knight and who is a knave?",
        "{0} Zoey said that Liam is a knight. So who is a knight and who is a knave?",
        "{0} Noah said that Liam is a knight. So who is a knight and who is a knave?",
        "{0} Noah said that Zoey is a knight.",
    ],
)
def test_another_wording_is_refused(text):
    quiz = write_quiz(Puzzle(((T, 1), (T, 0)), (True, True)), 0).text
    opening = quiz[: quiz.index(" You meet")] + " You meet 2 inhabitants: Noah, and Liam."
    with pytest.raises(ValueError, match="puzzle|people|inhabitant"):
        read_quiz(text.format(opening))


def test_a_statement_outside_the_grammar_is_refused():
    with pytest.raises(ValueError, match="no such kind"):
        consistent_worlds((("xor", (T, 0), (T, 1)), (T, 0)))


@pytest.mark.parametrize("people", range(2, 6))
def test_worked_solutions_walk_through_the_worlds_and_are_right(people):
    symbols, grader = Symbols(), get_grader("kk_published")
    for puzzle in kk.Sampler(11, people).puzzles(50):
        prompt, solution = symbols.prompt(puzzle), symbols.solution(puzzle)
        assert len(prompt) == 6 * people + 1
        assert set(prompt + solution) <= set(symbols.alphabet)
        walk, answer = solution[1:-1].split("}[")
        worlds = walk.replace(".", "x").split("x")[:-1]
        expected = itertools.product("kn", repeat=people)
        for text, world in zip(worlds, expected, strict=False):
            assert text[:people] == "".join(world)
            truth = [says(s, [c == "k" for c in world]) for s in puzzle.statements]
            checks = [t == (c == "k") for t, c in zip(truth, world, strict=True)]
            stop = checks.index(False) + 1 if False in checks else people
            assert text[people:] == "".join("01"[t] for t in truth[:stop])
        assert walk.endswith(".") and walk.count(".") == 1
        assert worlds[-1][:people] == answer[1::2]
        assert tuple(c == "k" for c in answer[1::2]) == puzzle.solution
        row = {"response": symbols.expand(solution), "gold": symbols.gold(puzzle)}
        assert grader.grade(row).score == 3.0
        flipped = (
            solution.replace("[Ak", "[An") if "[Ak" in solution else solution.replace("[An", "[Ak")
        )
        assert grader.grade(row | {"response": symbols.expand(flipped)}).score == -0.5


def test_noise_resamples_about_its_share_of_roles_and_truth_values(tmp_path):
    kk.build(tmp_path, 1, **TINY)
    assert len(read_parquet(tmp_path / "sft.parquet", MESSAGE_COLUMNS)) == 230
    noisy = read_parquet(tmp_path / "sft_noisy.parquet", MESSAGE_COLUMNS)
    assert len(noisy) == 230
    symbols, rng = Symbols(), random.Random(0)
    clean = "".join(symbols.solution(p) for p in kk.Sampler(3, 3).puzzles(600))
    changed = symbols.resample(rng, clean, 0.08)
    pairs = [(a, b) for a, b in zip(clean, changed, strict=True) if a in "kn01"]
    # a resampled symbol stays the same one time in two
    assert sum(a != b for a, b in pairs) / len(pairs) == pytest.approx(0.04, abs=0.005)
    assert [a for a in clean if a not in "kn01"] == [b for b in changed if b not in "kn01"]


def test_the_training_prompt_is_the_published_one(published):
    template = prompts.load("logic_rl_instruct_raw")
    stored = [r for by_index in published.values() for r in by_index.values() if "prompt" in r]
    assert len(stored) == 500
    for row in stored:
        assert [m["content"] for m in template.render({"problem": row["quiz"]})] == [row["prompt"]]


def test_logic_rl_sets_are_the_published_ones(tmp_path, published):
    logic_rl.build(tmp_path, 1, template="plain", perturbed=logic_rl.PERTURBATIONS)
    for split, count in (("train", 4500), ("validation", 500)):
        rows = rows_of(tmp_path, split)
        assert len(rows) == count
        for row in rows:
            info = row["extra_info"]
            stored = published[info["people"]][info["index"]]
            assert row["prompt"][0]["content"] == stored["quiz"]
            gold = json.loads(row["reward_model"]["ground_truth"])
            assert list(gold) == stored["names"]
            assert [role == "knight" for role in gold.values()] == stored["solution"]
    test = rows_of(tmp_path, "test")
    assert Counter(r["extra_info"]["people"] for r in test) == dict.fromkeys(range(2, 9), 100)
    assert test[600:] == rows_of(tmp_path, "test_8")
    counts = {k: len(rows_of(tmp_path, f"train_{k}")) for k in logic_rl.PERTURBATIONS}
    assert counts == {"statement": 4497, "leaf": 4381, "reordered": 4500}
    with pytest.raises(ValueError, match="no 'spelling'"):
        logic_rl.build(tmp_path, 1, perturbed=["spelling"])
