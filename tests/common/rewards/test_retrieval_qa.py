"""Retrieval QA graders: the originals' rules, the derived table of the post, attacks on strict."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.rewards.registry import get_grader
from common.rewards.retrieval_qa import confusion_rates, rgb_rates
from common.rewards.verdict import Outcome

RGB = Path(__file__).parents[4] / "shared" / "data" / "rgb"
REFUSAL = "I can not answer the question because of the insufficient information in documents."
GOLD = {
    "answer": [["Tampa, Florida", "Tampa, Fla"]],
    "query": "Which city hosted the Super Bowl in 2021?",
    "wrong": "Glendale, Arizona",
}
ZH = {"answer": "南非", "query": "2018年金砖国家主席国是谁？", "language": "zh"}
PASSAGE = (
    "The game was played on February 7, 2021, at Raymond James Stadium in Tampa, Florida, the home"
    " stadium of the Buccaneers, marking the first time a team played a Super Bowl at home"
)


def grade(name, response, gold):
    return get_grader(name).grade({"response": response, "gold": gold})


def right(name, response, gold):
    return grade(name, response, gold).outcome is Outcome.CORRECT


@pytest.mark.parametrize(
    ("gold", "response", "labels"),
    [
        ("Norway", "it was norway.", [1]),
        ("Norway", "It was Sweden", [0]),
        (["喜剧", "高可"], "喜剧 ，导演是 高 可", [1, 1]),  # spaces go in Chinese
        (["喜剧", "高可"], "喜剧", [1, 0]),
        ([["May 29 2020", "29 May 2020"]], "On 29 may 2020", [1]),
        ("Norway", "insufficient information, but Norway", [-1]),
        ("Norway", "Insufficient information", [0]),  # the keyword's case counts
        ("70", "文档信息不足", [-1]),
        ("Norway", "not Norway", [1]),  # a known weakness of the original
        ("Norway", None, [0]),
        ("Norway", "", [0]),
    ],
)
def test_rgb_labels_are_those_of_the_original(gold, response, labels):
    verdict = grade("rgb", response, gold)
    assert verdict.details["labels"] == labels
    assert verdict.score == float(set(labels) == {1})
    assert (verdict.outcome is Outcome.CORRECT) == (verdict.score == 1)


def test_rgb_rejection_and_error_detection_count_as_in_the_original():
    rejection = {"answer": "Norway", "task": "rejection"}
    assert right("rgb", REFUSAL, rejection)
    assert right("rgb", "Norway", rejection)  # the original counts a right answer too
    assert not right("rgb", "Sweden", rejection)
    fact = {"answer": "Norway", "task": "counterfactual"}
    named = "There are factual errors in the provided documents. "
    answers = [named + "Norway", named + "Sweden", "Norway", named + REFUSAL]
    verdicts = [grade("rgb", text, fact) for text in answers]
    assert [v.score for v in verdicts] == [1, 0, 0, 1]
    verdicts += [grade("rgb", text, rejection) for text in (REFUSAL, "Norway", "Sweden", None)]
    verdicts += [grade("rgb", "Norway", text) for text in ("Norway", "Sweden", "")]
    assert rgb_rates(verdicts) == {
        "ungradable": 1,
        "counterfactual": 2 / 4,
        "error_detection": 3 / 4,
        "error_correction": 2 / 3,
        "rejection": 2 / 4,
        "rejection_refused": 1 / 4,
        "retrieval": 1 / 2,
    }


@pytest.mark.parametrize(
    ("response", "cells"),
    [  # gold: the answer, unanswerable, answerable without a text
        ("It is Norway", ("TP", "FP", "TP")),
        ("It is Sweden", ("FN", "FP", "TP")),
        ("I don't know.", ("FN", "TN", "FN")),
        ("I don't know, perhaps Norway", ("FN", "TN", "FN")),
        ("  ", ("FN", "FP", "FN")),
        (None, ("FN", "FP", "FN")),
    ],
)
def test_kbqa_cells(response, cells):
    golds = ("Norway", "unanswerable", {"answerable": True})
    for gold, cell in zip(golds, cells, strict=True):
        verdict = grade("kbqa", response, gold)
        assert verdict.details["cell"] == cell
        rate = "answer_recall" if cell in ("TP", "FN") else "refusal_rate"
        assert verdict.details == {"cell": cell, rate: verdict.score}
        assert verdict.score == float(cell in ("TP", "TN"))


def test_rates_are_those_derived_from_the_posts_table():
    rates = confusion_rates(["TP"] * 238 + ["FP"] * 66 + ["TN"] * 217 + ["FN"] * 20)
    found = [round(rates[k], 3) for k in ("answer_recall", "refusal_rate", "accuracy")]
    assert found == [0.922, 0.767, 0.841]
    assert rates["hallucination_rate"] == 66 / 283 and rates["error_rate"] == 20 / 258
    assert rates["precision"] == 238 / 304
    recall, precision = rates["answer_recall"], rates["precision"]
    assert rates["f1"] == pytest.approx(2 * recall * precision / (recall + precision))
    assert confusion_rates(["TP"])["refusal_rate"] is None


@pytest.mark.parametrize(
    ("response", "relevant", "other"),
    [
        ("Yes, answer is present", "TP", "FP"),
        ("I don't know", "FN", "TN"),
        ("yes,\nanswer is present in [3]", "TP", "FP"),
        ("Yes, answer is present or I don't know", "invalid", "invalid"),
        ("Yes, answer is present. I don't know. Yes, answer is present.", "TP", "FP"),
        ("the answer is not present", "FN", "TN"),
        ("[3]", "TP", "FP"),
        ("Norway [3] as it says", "invalid", "invalid"),
        (None, "invalid", "invalid"),
    ],
)
def test_nomiracl_reads_as_the_original(response, relevant, other):
    assert grade("nomiracl", response, "relevant").details["cell"] == relevant
    assert grade("nomiracl", response, "non_relevant").details["cell"] == other
    for gold in ({"answerable": False}, '{"answerable": false}'):
        assert grade("nomiracl", response, gold).details["cell"] == other


GOOD = [
    ("Tampa, Florida", GOLD),
    ("Answer: Tampa, Fla.", GOLD),
    ("<think>Glendale? No.</think>\nThe Super Bowl in 2021 was hosted in Tampa, Florida.", GOLD),
    ("南非", ZH),
    ("根据提供的文档，2018年金砖国家主席国是南非。", ZH),
    ("答案：南非", ZH),
    ("70,000", "70000"),
    ("-5", "-5"),
    ("1月3日，1月12日", ["1月3日", "1月12日"]),
]


@pytest.mark.parametrize(("response", "gold"), GOOD)
def test_strict_takes_the_answer(response, gold):
    assert right("rgb_strict", response, gold) and right("kbqa_strict", response, gold)


ASKED = {  # gold by question
    "Which country other than France won the World Cup in 2006?": "Italy",
    "Which city other than New York hosted it?": "Boston",
    "Which animal other than the dog barks?": "cat",
    "Who was the first president of the United States?": "Washington",
    "How many people died in the fire?": "12",
    "除了法国，哪个国家赢了世界杯？": "意大利",
    "谁获得了冠军？": "张三",
}


def asked(response):
    """The response and the gold of the first question that has the answer and one word more."""
    return [
        (response, {"answer": answer, "query": query})
        for query, answer in ASKED.items()
        if answer in response
    ]


GOOD += [
    pair
    for response in (
        "It is Italy.",
        "The country is Italy.",
        "In 2006 the World Cup was won by Italy.",
        "Washington was the first president of the United States",
        "The first president of the United States was Washington.",
        "12 people died in the fire.",
        "张三获得了冠军",
    )
    for pair in asked(response)
]
CANDIDATES = [
    pair
    for response in (
        *("Italy, France", "France, Italy", "Italy and France", "Italy France", "Italy\nFrance"),
        *("Italy with France", "Italy in France", "Italy, the France", "Italy, 2006"),
        *("France won the World Cup and Italy", "Italy France won the World Cup"),
        *("The answer is Italy, France", "World Cup, Italy", "It\u200baly", "\u0399taly Italy"),
        *("Boston, New York", "New York and Boston", "New York is Boston"),
        *("cat, dog", "the cat and the dog", "the dog, the cat"),
        *("意大利，法国", "法国、意大利", "意大利和法国", "意大利法国"),
        *("Washington, president", "12 fire", "12, 12 and people"),
    )
    for pair in asked(response) or [(response, {"answer": "Italy", "query": next(iter(ASKED))})]
]
ANSWER_ATTACKS = [
    *CANDIDATES,
    ("Glendale, Arizona", GOLD),
    ("Tampa", GOLD),
    ("Tampa, Florida or Glendale, Arizona", GOLD),
    ("Glendale, Arizona, Tampa, Florida", GOLD),
    ("Miami, Tampa, Florida, Boston, Denver, Atlanta", GOLD),
    ("Miami Tampa, Florida Boston", GOLD),
    ("1. Miami\n2. Tampa, Florida\n3. Boston", GOLD),
    ("It is not Tampa, Florida", GOLD),
    ("It isn't Tampa, Florida", GOLD),
    ("It was never Tampa, Florida.", GOLD),
    ("anything but Tampa, Florida", GOLD),
    ("Maybe Tampa, Florida", GOLD),
    ("Either Tampa, Florida or Miami", GOLD),
    (PASSAGE, GOLD),
    (f"Document:\n{PASSAGE}\n\nQuestion:\n{GOLD['query']}", GOLD),
    (f"{REFUSAL} Tampa, Florida", GOLD),
    (f"Tampa, Florida. {REFUSAL}", GOLD),
    ("I don't know. Tampa, Florida", GOLD),
    (REFUSAL, GOLD),
    ("<think>Tampa, Florida</think>", GOLD),
    ("<think>Tampa, Florida", GOLD),
    ("<think>Tampa, Florida</think>Miami", GOLD),
    ("Tampa, Florida<think>", GOLD),
    ("Answer: Miami\nAnswer: Tampa, Florida", GOLD),
    ("Tampa, Florida " * 3, GOLD),
    ("Tampa, Florida " * 100_000, GOLD),
    (GOLD["query"], GOLD),
    ("", GOLD),
    (None, GOLD),
    ("中国 南非 巴西", ZH),
    ("不是南非", ZH),
    ("南非或巴西", ZH),
    ("中国南非", ZH),
    ("南非中国", ZH),
    ("巴西、俄罗斯、印度、中国、南非", ZH),
    ("信息不足，南非", ZH),
    ("170", "70"),
    ("70 71", "70"),
    ("70/71", "70"),
    ("-70", "70"),
    ("70.5", "70"),
    ("11人12人13人", {"answer": "12人", "query": "死亡人数"}),
    ("Norway Sweden", {"answer": "Norway", "query": "Was it Norway or Sweden?"}),
    ("Was it Norway or Sweden?", {"answer": "Norway", "query": "Was it Norway or Sweden?"}),
    ("1月3日", ["1月3日", "1月12日"]),
]


@pytest.mark.parametrize(("response", "gold"), ANSWER_ATTACKS)
def test_strict_answers_resist_attacks(response, gold):
    for name in ("rgb_strict", "kbqa_strict"):
        verdict = grade(name, response, gold)
        assert (verdict.outcome, verdict.score) == (Outcome.WRONG, 0)


REFUSALS = [
    REFUSAL,
    "I don't know.",
    "答案：信息不足",
    "<think>Norway?</think>I do not know",
    "none",
]
REFUSAL_ATTACKS = [
    "Norway",
    "There is no insufficient information: Norway",
    f"{REFUSAL} But Norway.",
    f"Norway. {REFUSAL}",
    f"{REFUSAL} {REFUSAL}",
    f"I will not say: {REFUSAL}",
    "I don't know, Norway",
    "信息不足，但是挪威",
    "不是信息不足",
    f"If the documents have no answer, say: {REFUSAL}",
    f"<think>{REFUSAL}</think>",
    f"<think>{REFUSAL}",
    f"<think></think>{REFUSAL} Norway",
    "cannot answer",
    "unanswerable or Norway",
    "",
    None,
]


def test_strict_refusals_stand_alone():
    golds = {
        "rgb_strict": {"task": "rejection", "refusal": "none"},
        "kbqa_strict": {"answer": "unanswerable", "refusal": "none"},
    }
    for name, gold in golds.items():
        for response in REFUSALS:
            assert right(name, response, gold), response
        for response in REFUSAL_ATTACKS:
            assert grade(name, response, gold).outcome is Outcome.WRONG, response
    assert not right("kbqa_strict", "none", "unanswerable")


def test_strict_counterfactual_wants_the_error_named_and_the_answer():
    gold = GOLD | {"task": "counterfactual"}
    named = "There are factual errors in the provided documents. "
    assert right("rgb_strict", named + "The answer is Tampa, Florida.", gold)
    for text in ("Tampa, Florida", named, "Tampa, Florida. " + named, "No " + named + "Tampa"):
        assert not right("rgb_strict", text, gold)


WORDS = st.text(st.sampled_from("bdgjkpqvwxz"), min_size=3, max_size=8)  # none is a function word


@settings(max_examples=300, deadline=None)
@given(WORDS, st.sampled_from(GOOD[:6]), st.booleans(), st.sampled_from([" ", ", ", "\n", ". "]))
def test_no_strict_answer_survives_a_foreign_word(word, good, before, gap):
    response, gold = good
    head, thought, final = response.rpartition("</think>")
    final = word + gap + final if before else final + gap + word
    assert not right("kbqa_strict", head + thought + final, gold)
    assert not right("rgb_strict", head + thought + final, gold)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80), st.sampled_from([GOLD, ZH]))
def test_thoughts_and_white_space_do_not_change_a_strict_verdict(text, gold):
    for response in (text, text + " " + gold["query"], "Tampa, Florida " + text):
        first = grade("kbqa_strict", response, gold).outcome
        for other in (f"  {response}\n", f"<think>{text}</think>{response}"):
            if "think>" not in text:
                assert grade("kbqa_strict", other, gold).outcome is first


def test_gold_as_json_text_grades_alike():
    for gold in (GOLD, ZH, ["喜剧", ["高可", "高 可"]]):
        for text in ("Tampa, Florida", "南非", "喜剧 高可", REFUSAL):
            for name in ("rgb", "rgb_strict", "kbqa", "kbqa_strict"):
                assert grade(name, text, gold) == grade(name, text, json.dumps(gold))


@pytest.mark.parametrize("gold", ["", "  ", "{not json", ["Norway", ""], []])
def test_an_empty_gold_answer_is_ungradable(gold):
    for name in ("rgb", "rgb_strict", "kbqa", "kbqa_strict"):
        verdict = grade(name, "Norway", gold)
        assert verdict.outcome is Outcome.UNGRADABLE and verdict.details["why"]


@pytest.mark.parametrize(
    ("gold", "key"),
    [
        (7, "gold"),
        (None, "gold"),
        ({}, "gold"),
        ({"answer": 7}, "gold.answer"),
        ({"answer": "a", "task": "noise"}, "gold.task"),
        ({"answer": "a", "language": "fr"}, "gold.language"),
        ({"answer": "a", "query": 7}, "gold.query"),
        ({"answer": "a", "wrong": [7]}, "gold.wrong"),
        ({"answerable": "yes"}, "gold"),
    ],
)
def test_a_gold_of_the_wrong_type_is_named(gold, key):
    for name in ("rgb", "rgb_strict", "kbqa", "kbqa_strict"):
        with pytest.raises(ValueError, match=rf"^{key}: [^\n]+$"):
            grade(name, "a", gold)
    with pytest.raises(ValueError, match="^gold"):
        grade("nomiracl", "a", gold)


HOSTILE = ["\x00", "\ud800", "\u202e" * 1000, "(" * 3000, "ﷺ" * 599, "1," * 290, "<think>" * 10_000]


@pytest.mark.parametrize("response", HOSTILE)
def test_hostile_text_is_wrong_and_nothing_else(response):
    for gold in (GOLD, ZH, "unanswerable"):
        for name in ("kbqa", "kbqa_strict"):
            assert grade(name, response, gold).outcome is Outcome.WRONG
    assert grade("rgb", response, GOLD).outcome is Outcome.WRONG
    assert grade("rgb_strict", response, GOLD).outcome is Outcome.WRONG


@pytest.mark.skipif(not RGB.exists(), reason="needs the RGB data beside the repository")
@pytest.mark.parametrize("name", ["en_fact", "zh_fact", "zh_int", "zh_refine"])
def test_every_answer_of_the_data_is_right_and_every_fake_one_wrong(name):
    for line in (RGB / f"{name}.json").read_text().splitlines():
        row = json.loads(line)
        gold = {"answer": row["answer"], "query": row["query"], "language": name[:2]}
        answers = row["answer"] if isinstance(row["answer"], list) else [row["answer"]]
        text = ", ".join(a if isinstance(a, str) else a[0] for a in answers)
        assert right("rgb", text, gold) and right("rgb_strict", text, gold), row["id"]
        fakes = row.get("fakeanswer", [])
        for fake in [fakes] if isinstance(fakes, str) else fakes:
            fake = fake if isinstance(fake, str) else fake[0]
            if fake not in text:  # the data lists one right answer among the wrong ones
                assert not right("rgb_strict", fake, gold), row["id"]
                assert not right("rgb_strict", f"{text} {fake}", gold), row["id"]
