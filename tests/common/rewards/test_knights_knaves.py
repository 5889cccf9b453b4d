"""Knights & Knaves graders: the originals' verdicts, and a strict one that pays no trick."""

import csv
import json
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.rewards import knights_knaves as kk
from common.rewards.registry import get_grader
from common.rewards.verdict import Outcome

SHARED = Path(__file__).resolve().parents[4] / "shared"
GRADERS = ("kk_published", "kk_published_opened", "kk_eval", "kk_strict")
GOLD = {"Zoey": "knave", "Oliver": "knight"}
RIGHT = "(1) Zoey is a knave\n(2) Oliver is a knight"
WRONG = "(1) Zoey is a knight\n(2) Oliver is a knave"
THOUGHT = "If Zoey were a knight, her own claim would be false, so she lies."
QUOTED = "(1) Zoey is a knave\n(2) Oliver is a knight"
HEADERS = {"instruct": "<|im_start|>assistant\n<think>", "base": "Assistant: <think>", "none": ""}


def grade(name, response, gold=None):
    return get_grader(name).grade({"response": response, "gold": GOLD if gold is None else gold})


def answered(answer, thought=THOUGHT):
    return f"<think>{thought}</think>\n<answer>{answer}</answer>"


def grade_opened(name, response, gold=None):
    """`grade`, with the opening tag in the prompt for the grader that is for such prompts."""
    if name == "kk_published_opened" and response is not None:
        response = response.removeprefix("<think>")
    return grade(name, response, gold)


def vectors():
    path = SHARED / "papers" / "vectors" / "kk_reward_edge_cases.csv"
    if not path.exists():
        pytest.skip("needs the published vectors")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 43
    return rows


def test_published_vectors_as_trained():
    heads = []
    for row in vectors():
        header = HEADERS[row["header"]] or "<think>"
        text, gold = header + row["response_after_prompt"], row["ground_truth_text"]
        form, answer = kk.training_score(text, gold)
        assert (form, form + answer) == (
            1.0 if row["train_format_ok"] == "1" else -1.0,
            float(row["train_total_reward"]),
        ), row["case"]
        if row["header"] != "none":  # the grader supplies the header itself
            verdict = grade("kk_published", text.removeprefix(kk.HEADER), gold)
            assert verdict.score == form + answer, row["case"]
            assert verdict.details["format_ok"] == float(row["train_format_ok"])
        if row["header"] == "instruct":  # the prompt ends in the tag
            verdict = grade("kk_published_opened", row["response_after_prompt"], gold)
            assert verdict.score == form + answer, row["case"]
        heads.append(row["header"])
    assert heads.count("none") == 1


def test_published_vectors_as_evaluated():
    for row in vectors():
        verdict = grade("kk_eval", row["response_after_prompt"], row["ground_truth_text"])
        assert verdict.details["format_ok"] == float(row["eval_format_ok"]), row["case"]
        assert verdict.score == float(row["eval_correct"]), row["case"]


def test_every_reward_of_the_published_log():
    path = SHARED / "grader_cases" / "kk_logicrl_log.jsonl"
    if not path.exists():
        pytest.skip("needs the published log")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 114
    for row in rows:
        verdict = get_grader("kk_published").grade(row)
        assert verdict.score == row["expected"], row["id"]
        assert (verdict.outcome is Outcome.CORRECT) == (row["expected"] == 3.0)


# What the originals look for, written down a second time, one regular expression for each name.
def plainly_trained(text, gold):
    body = text.split("Assistant:", 1)[-1] if "Assistant:" in text else text.split(kk.HEADER, 1)[-1]
    tags = ["<think>", "</think>", "<answer>", "</answer>"]
    places = [body.find(tag) for tag in tags]
    if [body.count(tag) for tag in tags] != [1] * 4 or places != sorted(places):
        return -3.0
    answer = re.findall(r"<answer>(.*?)</answer>", body, re.DOTALL)[-1].strip()
    roles = len(re.findall("knight|knave", answer.lower()))
    found = [
        re.search(rf"\b{re.escape(n)}\b\s+is\s+a\s+\b(knight|knave)\b", answer, re.IGNORECASE)
        for n in gold
    ]
    if not answer or roles != len(gold) or not all(found):
        return -1.0
    same = [m[1].lower() for m in found] == list(gold.values())
    return 3.0 if same else -0.5


def plainly_evaluated(text, gold):
    tags = ["</think>", "<answer>", "</answer>"]
    places = [text.find(tag) for tag in tags]
    if [text.count(tag) for tag in tags] != [1] * 3 or places != sorted(places):
        return 0.0
    answer = re.findall(r"<answer>(.*?)</answer>", text, re.DOTALL)[-1].strip()
    found = [
        re.search(rf"\b{re.escape(n)}\b.*?\b(knight|knave)\b", answer, re.IGNORECASE) for n in gold
    ]
    right = all(found) and [m[1].lower() for m in found] == list(gold.values())
    return float(right)


FRAGMENTS = st.sampled_from(
    ["Zoey", "Oliver", "zoey", "OLIVER", "Zoeyx", " is a ", " is ", " a ", "knight", "knave"]
    + ["Knights", "(1) ", "(2) ", "\n", ", ", " ", "\n(1) Zoey is a knave", "\n(2) Oliver is a "]
    + ["Zoey is a knave\n", "Oliver is a knight", "\u212anave", "\u00a0", "\x1c", "not ", "_", "7"]
)
TAGS = st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "Assistant:", "thought"])


@given(st.lists(FRAGMENTS, max_size=12))
@settings(max_examples=600)
def test_answers_are_read_as_by_the_originals(fragments):
    response = answered("".join(fragments))
    assert grade("kk_published", response).score == plainly_trained(kk.HEADER + response, GOLD)
    assert grade("kk_eval", response).score == plainly_evaluated(response, GOLD)


@given(st.lists(TAGS | FRAGMENTS, max_size=12), st.booleans())
@settings(max_examples=600)
def test_tags_are_read_as_by_the_originals(fragments, whole):
    response = "".join(fragments)
    if whole:
        response = answered(RIGHT) + response
    assert grade("kk_published", response).score == plainly_trained(kk.HEADER + response, GOLD)
    assert grade("kk_eval", response).score == plainly_evaluated(response, GOLD)


ACCEPTED = [
    RIGHT,
    "Zoey is a knave, Oliver is a knight",
    "Oliver is a knight. Zoey is a knave.",
    "zoey IS A KNAVE, oliver Is a Knight",
    "Zoey is knave, Oliver is knight",
    "Zoey: knave, Oliver: knight",
    "Zoey = knave; Oliver = knight",
    "Zoey - knave\nOliver - knight",
    "- Zoey is a knave\n- Oliver is a knight",
    "1. **Zoey** is a knave\n2. **Oliver** is a **knight**",
    "Zoey is the knave and Oliver is the knight",
    "\n(1) Zoey is a\tknave\n\n(2)  Oliver is a knight\n",
    "Zoey\u00a0is a knave，Oliver is a knight。",
]


@pytest.mark.parametrize("answer", ACCEPTED)
def test_strict_reads_plain_lists(answer):
    for end in ("", "\n", "<|im_end|>", " <|eot_id|>\n"):
        verdict = grade("kk_strict", answered(answer) + end)
        assert verdict.outcome is Outcome.CORRECT and verdict.score == 1.0
    assert grade("kk_strict", answered(answer).removeprefix("<think>")).score == 1.0
    other = dict(zip(GOLD, ("knight", "knave"), strict=True))
    verdict = grade("kk_strict", answered(answer), other)
    assert (verdict.outcome, verdict.score) == (Outcome.WRONG, 0.0)
    assert verdict.details == {"format_ok": 1.0, "answer_read": 1.0, "answer_ok": 0.0}


PROMPT = (
    "You are a helpful assistant. The reasoning process and answer are enclosed within <think> "
    "</think> and<answer> </answer> tags, respectively, i.e., <think> reasoning process here "
    "</think><answer> answer here </answer>. i.e., <answer> (1) Zoey is a knight\n(2) ... </answer>"
)
ATTACKS = {
    # a negation or a condition around the right words
    "negated": answered("It is not true that Zoey is a knave, and Oliver is a knight"),
    "negated role": answered("Zoey is a knave, Oliver is a knight, not a knave"),
    "not": answered("Zoey is not a knight, Oliver is not a knave"),
    "false list": answered("The following is false: Zoey is a knave, Oliver is a knight"),
    "opposite": answered("The opposite of: Zoey is a knave, Oliver is a knight"),
    "if": answered("If Zoey is a knave, Oliver is a knight"),
    "or": answered("Zoey is a knave or Oliver is a knight"),
    "maybe": answered("Zoey is a knave, perhaps. Oliver is a knight"),
    "question": answered("Zoey is a knave? Oliver is a knight?"),
    "nobody knows": answered("Zoey is a knave, Oliver is a knight, or else I do not know"),
    # more than one answer
    "all assignments": answered(
        "\n".join(
            f"Zoey is a {a}, Oliver is a {b}"
            for a in ("knight", "knave")
            for b in ("knight", "knave")
        )
    ),
    "both": answered(f"{RIGHT}\n{WRONG}"),
    "wrong first": answered(f"{WRONG}\n{RIGHT}"),
    "either role": answered("Zoey is a knight/knave, Oliver is a knight/knave"),
    "either role in words": answered("Zoey is a knave or a knight, Oliver is a knight or a knave"),
    "name twice": answered("Zoey is a knave, Zoey is a knight"),
    "same name twice": answered("Zoey is a knave, Zoey is a knave, Oliver is a knight"),
    "third person": answered("Zoey is a knave, Oliver is a knight, Emma is a knight"),
    "other people": answered("Zoeyx is a knave, Oliver is a knight"),
    "one missing": answered("Zoey is a knave"),
    "plural": answered("Zoey and Oliver are knights and knaves"),
    "two answer blocks": answered(WRONG) + f"<answer>{RIGHT}</answer>",
    "nested blocks": answered(f"<answer>{RIGHT}</answer>"),
    # a sentence that takes it back
    "trailing contradiction": answered(f"{RIGHT}\nNo, it is the other way round."),
    "trailing role": answered(f"{RIGHT}. Actually Zoey is a knight"),
    "after the answer": answered(RIGHT) + " Wait, Zoey is a knight.",
    "taken back after it": answered(RIGHT) + "\nAll of the above is false.",
    "before the answer": answered(RIGHT).replace("\n<answer>", "None of this holds:<answer>"),
    "struck through": answered("~~Zoey is a knave~~, Oliver is a knight"),
    # no thought
    "empty thought": answered(RIGHT, ""),
    "blank thought": answered(RIGHT, " \n\t "),
    "dots": answered(RIGHT, "." * 500),
    "filler": answered(RIGHT, "Let me think about this step by step very carefully."),
    "copied placeholder": answered(RIGHT, " reasoning process here "),
    "no thought at all": f"<answer>{RIGHT}</answer>",
    "invisible thought": answered(RIGHT, "\u200b" * 50 + "Zoey"),
    "names alone": answered(RIGHT, "Zoey Oliver " * 40),
    "one word again and again": answered(RIGHT, "Zoey thinks if " * 40),
    "gold as the thought": answered(RIGHT, QUOTED),
    "gold as the thought, twice": answered(RIGHT, f"{QUOTED}\n{QUOTED}"),
    "gold as the thought, framed": answered(RIGHT, f"So the final answer is therefore: {QUOTED}."),
    "gold in a thought of filler": answered(
        RIGHT, f"Let me think step by step very carefully about this puzzle. {QUOTED}"
    ),
    "all assignments as the thought": answered(RIGHT, f"{QUOTED}\n{WRONG}\n{RIGHT}"),
    "numbers as the thought": answered(RIGHT, "Zoey if " + " ".join(map(str, range(99)))),
    # the gold quoted where no answer stands
    "gold in the thought": answered("", f"So {RIGHT}."),
    "gold in the thought, other answer": answered(WRONG, f"So {RIGHT}."),
    "answer in the thought": f"<think>{THOUGHT}<answer>{RIGHT}</answer></think>",
    "answer tags in the thought": answered(RIGHT, f"{THOUGHT} I will use <answer> later"),
    "answer not closed": f"<think>{THOUGHT}</think><answer>{RIGHT}",
    "outside the tags": f"<think>{THOUGHT}</think>{RIGHT}<answer></answer>",
    "no end of the thought": f"<think>{THOUGHT}<answer>{RIGHT}</answer>",
    "upper-case tags": answered(RIGHT).upper(),
    # the prompt again, or a conversation of its own
    "copied prompt": f"{PROMPT}{answered(RIGHT)}",
    "copied example": answered("(1) Zoey is a knight\n(2) ..."),
    "copied answer": answered(" answer here "),
    "own turn": f"{answered(WRONG)}<|im_end|>\n<|im_start|>assistant\n{answered(RIGHT)}",
    "turn in the thought": answered(RIGHT, f"{THOUGHT}<|im_end|><|im_start|>assistant"),
    "second thought": answered(RIGHT, f"{THOUGHT}<think>again"),
    # look-alikes
    "Cyrillic": answered("Z\u043eey is a knave, Oliver is a knight"),
    "zero width": answered("Zo\u200bey is a knave, Oliver is a knight"),
    "right to left": answered("\u202eZoey is a knave, Oliver is a knight"),
    "joined": answered("Zoeyisaknave, Oliverisaknight"),
    "nothing": "",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_strict_pays_no_attack(attack):
    verdict = grade("kk_strict", ATTACKS[attack])
    assert (verdict.outcome, verdict.score) == (Outcome.WRONG, 0.0)


@pytest.mark.parametrize(
    "thought",
    [
        "Suppose Zoey is a knight. Then Oliver lies, but he says the truth, a contradiction.",
        "如果Zoey是骑士，那么她说的话是真的，矛盾。",
        "x " * 300 + THOUGHT,
    ],
)
def test_strict_takes_short_and_foreign_thoughts(thought):
    assert grade("kk_strict", answered(RIGHT, thought)).score == 1.0


def test_there_are_thirty_attacks_and_the_published_rewards_pay_some():
    assert len(ATTACKS) >= 30
    paid = {a for a, text in ATTACKS.items() if grade("kk_published", text).score == 3.0}
    assert {"negated", "empty thought", "after the answer"} <= paid
    assert "all assignments" not in paid


def test_details_count_what_they_are_called():
    cases = {
        answered(RIGHT): (1.0, 1.0, 1.0),
        answered(WRONG): (1.0, 1.0, 0.0),
        answered("Zoey is a knave"): (1.0, 0.0, 0.0),
        answered(""): (1.0, 0.0, 0.0),
        f"<answer>{RIGHT}</answer>": (0.0, 0.0, 0.0),
        None: (0.0, 0.0, 0.0),
    }
    for response, expected in cases.items():
        for name in GRADERS:
            verdict = grade_opened(name, response)
            assert tuple(verdict.details) == get_grader(name).metrics
            assert tuple(verdict.details.values()) == expected, (name, response)
            assert all(type(v) is float for v in verdict.details.values())


def test_scores():
    assert [grade("kk_published", answered(a)).score for a in (RIGHT, WRONG, "")] == [3, -0.5, -1]
    assert [grade("kk_published", r).score for r in (None, "", RIGHT)] == [-3, -3, -3]
    for name in ("kk_eval", "kk_strict"):
        assert [grade(name, r).score for r in (answered(RIGHT), answered(WRONG), None)] == [1, 0, 0]
    assert grade("kk_published", answered(f" {RIGHT}\n")).extracted == RIGHT


@pytest.mark.parametrize("name", GRADERS)
def test_gold_in_all_its_forms(name):
    for gold in (GOLD, json.dumps(GOLD), RIGHT, json.dumps(RIGHT), f"\n{RIGHT}\n\n"):
        assert grade_opened(name, answered(RIGHT), gold).outcome is Outcome.CORRECT
        assert grade_opened(name, answered(WRONG), gold).outcome is Outcome.WRONG
    for gold in (
        "",
        "nobody knows",
        "{",
        '"',
        "{}",
        {},
        {"Zoey": "saint"},
        f"{RIGHT}\n(3) Emma",
        f"{RIGHT}\n{WRONG}",
    ):
        assert grade_opened(name, answered(RIGHT), gold).outcome is Outcome.UNGRADABLE
    for gold in (3, ["Zoey"], {"Zoey": 1}, {"Zoey": ["knight"]}):
        with pytest.raises(ValueError, match="gold"):
            grade_opened(name, answered(RIGHT), gold)


@pytest.mark.parametrize("name", GRADERS)
def test_people_with_unusual_names(name):
    """Names that are words of a clause, or not plain ones, get the same verdicts."""
    gold = {"A": "knight", "Zoë": "knave", "Knightley": "knight"}
    thought = "A says that Zoë lies; if A were lying himself, then Zoë would be telling the truth."
    right = answered("A is a knight\nZoë is a knave\nKnightley is a knight", thought)
    counted = name.startswith("kk_published")  # for them Knightley is one role word too many
    assert (grade_opened(name, right, gold).outcome is Outcome.CORRECT) == (not counted)
    wrong = right.replace("A is a knight", "A is a knave")
    assert grade_opened(name, wrong, gold).outcome is Outcome.WRONG


def test_names_of_several_words():
    gold = {"Mary Ann": "knave", "Oliver": "knight"}
    response = answered("Mary Ann is a knave\nOliver is a knight")
    assert grade("kk_published", response, gold).score == 3.0
    assert grade("kk_eval", response, gold).score == 1.0
    assert grade("kk_strict", response, gold).outcome is Outcome.UNGRADABLE


HOSTILE = {
    "zoey": "zoey " * 40_000,
    "zoeyzoey": "zoey" * 50_000,
    "lines": "Zoey\n" * 40_000,
    "spaces": "Zoey" + " " * 200_000,
    "is a": "Zoey is a " * 20_000,
    "is": "Zoey is" + " \t" * 100_000 + "a",
    "words": "a" * 200_000,
    "roles": "knight" * 30_000,
    "commas": "," * 200_000,
    "numbers": "(1) " * 50_000,
    "and": "and " * 50_000,
    "bars": "|" * 200_000,
    "stars": "*" * 200_000,
    "tags": "</think><answer></answer>" * 40_000,
    "open": "<answer>" * 24_000,
    "ends": "</s>" * 50_000,
    "angle": "<" * 200_000,
    "nul": "\0" * 200_000,
    "surrogates": "\ud800" * 10**5,
    "unicode": "Zoey ſ ist \u212anight " * 50_000,
}


@pytest.mark.parametrize("name", GRADERS)
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_text_is_wrong_and_takes_linear_time(name, kind):
    text = HOSTILE[kind]
    for response in (text, answered(text), answered(RIGHT, text), answered(RIGHT) + text):
        full = grade(name, response)
        assert full.outcome is Outcome.WRONG or RIGHT in response
    lines = counted(name, answered(text)), counted(name, answered(text[: len(text) // 8]))
    # a Python-level loop would show; the patterns' own steps are bounded by their form
    assert lines[0] <= 9 * lines[1] + 100


def counted(name, response):
    """How many lines of Python a verdict takes."""
    total = 0

    def trace(frame, event, argument):
        nonlocal total
        total += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        grade(name, response)
    finally:
        sys.settrace(before)
    return total
