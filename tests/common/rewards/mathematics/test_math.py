"""The answer in a response, and responses made to be taken for right."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.rewards import workers
from common.rewards.mathematics import fast, fast_equiv, grade, grade_equiv
from common.rewards.verdict import Outcome


def outcome(gold, response, **row):
    verdict = fast({"gold": gold, "response": response, **row})
    assert verdict is not None, "left to the child process"
    assert verdict.score == float(verdict.outcome is Outcome.CORRECT)
    return verdict.outcome.value


RIGHT = [
    r"So the answer is $\boxed{42}$.",
    r"\boxed {42}",
    r"\fbox{42}",
    r"We try \boxed{41}. No: \boxed{42}",
    r"<think>maybe \boxed{7}</think> It is \boxed{42}.",
    r"the thought was opened by the prompt </think> \boxed{42}",
    r"\boxed{42}<|im_end|><|im_start|>user \boxed{43}",
    r"\boxed{x = 42}",
    r"\boxed{42 \text{ apples}}",
    r"\boxed{\text{42}}",
    r"\boxed{\boxed{42}}",
    "The final answer is $42$. I hope it is correct.",
    "Final Answer: The final answer is 42. I hope it is correct.",
    "Final Answer: The volume of $ABCD$ is 42. I hope it is correct.",
    "The answer is: **42**",
    "7 * 6 = 42\n#### 42",
    "<answer> 42 </answer>",
    "So there are 42 apples.",
    "Therefore $x = 42$.",
    r"Hence \(x = 42\).",
    "42",
]


@pytest.mark.parametrize("response", RIGHT)
def test_right_answers(response):
    assert outcome("42", response) == "correct"


ATTACKS = {  # gold 42 unless the row says otherwise
    "nothing": "",
    "a blank": " \n ",
    "a box with nothing in it": r"\boxed{}",
    "an empty last box": r"\boxed{42} \boxed{}",
    "an unclosed box": r"the answer is \boxed{42",
    "an unclosed last box": r"\boxed{42} and \boxed{42",
    "a box that closes elsewhere": r"\boxed{{42}",
    "the answer in the thought": r"<think>it is \boxed{42}</think> done",
    "the answer in a thought that never ends": r"<think>it is \boxed{42}",
    "only the thought states it": "<think>The answer is 42.</think>",
    "a thought behind a wrong box": r"\boxed{41} <think>\boxed{42}",
    "another last box": r"\boxed{42} \boxed{41}",
    "all answers in one box": r"\boxed{41, 42, 43}",
    "all answers with or": r"\boxed{41 \text{ or } 42}",
    "all answers in a set": r"\boxed{\{41, 42\}}",
    "a range": r"\boxed{[41, 43]}",
    "an inequality": r"\boxed{x \le 42}",
    "a chain of candidates": r"\boxed{x = 41 = 42}",
    "not": r"\boxed{\text{not } 42}",
    "an answer with a denial": r"\boxed{42 \text{ is wrong}}",
    "the answer is not": "The answer is not 42.",
    "the answer isn't": "The answer isn't 42",
    "it cannot be": "It cannot be 42.",
    "denied in the next sentence": "The answer is 42. That is false.",
    "a question": "Is it 42?",
    "a hundredth": r"\boxed{0.42}",
    "a hundredfold": r"\boxed{4200}",
    "plus or minus": r"\boxed{\pm 42}",
    "more digits": r"\boxed{42.0001}",
    "almost": r"\boxed{41.9999999}",
    "a huge number": r"\boxed{42^{42^{42^{42}}}}",
    "no number": r"\boxed{\frac{42}{0}}",
    "a symbol": r"\boxed{x}",
    "words": r"\boxed{\text{forty-two}}",
    "the first of a pair": r"\boxed{(42, 0)}",
    "digits apart": r"\boxed{4 2}",
    "a product by juxtaposition": r"\boxed{42 1}",
    "a number in a word": "It follows from theorem A42",
    "cut off in a formula": r"Then we get $x = \frac{42",
    "cut off in a sentence": "Setting y = 42 we have that the",
    "a stop token before it": r"I give up<|im_end|>\boxed{42}",
    "format alone": "<think></think><answer></answer>",
    "an expression in the box": r"\boxed{__import__('os').system('echo 42')}",
    "the word gold": r"\boxed{gold}",
    "the word correct": r"\boxed{\text{correct}}",
}
MORE_ATTACKS = {
    "further answers as text": ("5", r"\boxed{5\text{perhaps 6, 7, 8, 9}}"),
    "another digit as text": ("5", r"\boxed{5\text{6}}"),
    "another digit upright": ("5", r"\boxed{5\mathrm{6}}"),
    "another answer in brackets": ("5", r"\boxed{5\text{ (or 7)}}"),
    "a condition": ("5", r"\boxed{5\text{ if lucky else 6}}"),
    "rejected": ("5", r"\boxed{5\text{ (rejected)}}"),
    "a doubt": ("5", r"\boxed{5\text{ maybe}}"),
    "all with or": ("5", "The answer is 1 or 2 or 3 or 5"),
    "all with commas": ("5", "The answer is one of 1, 2, 3, 5"),
    "all side by side": ("5", "The answer is: 1 2 3 4 5"),
    "either": ("5", "The answer is either 4 or 5"),
    "between": ("5", "The answer is between 4 and 5"),
    "all letters": ("B", r"\boxed{A, B, C, D}"),
    "all letters marked": ("B", r"\boxed{\text{(A) (B) (C) (D)}}"),
    "letters in words": ("B", r"\boxed{A. B. C. D.}"),
    "an algebraic letter": ("B", r"\boxed{A + B}"),
    "a product of letters": ("B", r"\boxed{AB}"),
    "one root of two": ("1, 2", r"\boxed{2}"),
    "one root twice": ("1, 2", r"\boxed{2, 2}"),
    "a root too many": ("1, 2", r"\boxed{1, 2, 3}"),
    "the wrong bracket": ("[0, 1)", r"\boxed{[0, 1]}"),
    "the wrong order": ("(1, 2)", r"\boxed{(2, 1)}"),
    "a rounded surd": (r"\sqrt{2}", r"\boxed{1.41}"),
    "the wrong sign": (r"-\frac{1}{2}", r"\boxed{\frac{1}{2}}"),
    "the wrong unit": (r"5\text{ km}", r"\boxed{5\text{ cm}}"),
    "another name": ("x = 5", r"\boxed{y = 5}"),
    "both words": (r"\text{odd}", r"\boxed{\text{odd or even}}"),
    "a word and one": (r"\text{odd}", r"\boxed{\text{odd}+1}"),
    "another date": (r"\text{June 20}", r"\boxed{\text{June 30}}"),
    "a word denied": (r"\text{odd}", r"\boxed{\text{not odd}}"),
}


@pytest.mark.parametrize("response", ATTACKS.values(), ids=ATTACKS)
def test_attacks(response):
    assert outcome("42", response) == "wrong"


@pytest.mark.parametrize(("gold", "response"), MORE_ATTACKS.values(), ids=MORE_ATTACKS)
def test_attacks_on_other_golds(gold, response):
    assert outcome(gold, response) == "wrong"


def test_a_copied_prompt_is_no_answer():
    prompt = r"How many are there? An example: The answer is 42."
    assert outcome("42", prompt, prompt=prompt) == "wrong"
    assert outcome("42", "An example: The answer is 42.", prompt=prompt) == "wrong"
    assert outcome("42", prompt + r" I say \boxed{41}.", prompt=prompt) == "wrong"
    assert outcome("42", prompt + r" I say \boxed{42}.", prompt=prompt) == "correct"


def test_a_prompt_may_open_the_thought():
    row = {"prompt": "Solve. <think>\n"}
    assert outcome("42", r"I think \boxed{42}", **row) == "wrong"
    assert outcome("42", r"I think </think> \boxed{42}", **row) == "correct"


@pytest.mark.parametrize(
    ("gold", "response", "expected"),
    [
        ("B", r"\boxed{(B) 12}", "correct"),
        ("B", r"\boxed{\textbf{(B)}\ 12}", "correct"),
        ("B", r"\boxed{B. $4^x$}", "correct"),
        ("B", r"\boxed{C}", "wrong"),
        (r"\text{ACF}", r"\boxed{ACF}", "correct"),
        (r"\text{June 20}", r"\boxed{June 20}", "correct"),
        ("", r"\boxed{5}", "ungradable"),
        ("", "", "ungradable"),
        (r"solution: $\boxed{5}$", r"\boxed{5}", "correct"),
        (27.0, r"\boxed{27}", "correct"),
        (27, r"\boxed{28}", "wrong"),
        (r"\begin{pmatrix}2\-1\-5\end{pmatrix}", r"\boxed{\begin{pmatrix}2\\-1\\-5\end{pmatrix}}")
        + ("correct",),
    ],
)
def test_golds_of_all_kinds(gold, response, expected):
    assert outcome(gold, response) == expected


def test_no_response_is_wrong_and_what_was_read_is_told():
    assert fast({"gold": "5", "response": None}).outcome is Outcome.WRONG
    verdict = fast({"gold": "5", "response": r"so \boxed{ 6 }"})
    assert (verdict.extracted, verdict.details) == ("6", {"found": "box"})


@pytest.mark.parametrize("gold", [None, ["5"], True, float("nan"), {"answer": "5"}])
@pytest.mark.parametrize("grader", [grade, grade_equiv])
def test_a_gold_of_another_type_is_refused_by_name(gold, grader):
    with pytest.raises(ValueError, match="^gold: "):
        grader({"gold": gold, "response": r"\boxed{5}"})


@pytest.mark.parametrize("params", [{"precision": "6"}, {"precision": -1}, [6]])
def test_bad_params_are_refused_by_name(params):
    with pytest.raises(ValueError, match="^params: "):
        grade_equiv({"gold": "5", "response": "5", "params": params})


@pytest.mark.parametrize(
    ("gold", "answer", "params", "expected"),
    [
        ("$1$ and $2$ and $3$", r"$\boxed{1,2,3}$", None, True),
        (r"${1,2,3}$", r"\boxed{1},\boxed{2},\boxed{3}", {}, True),
        (r"\boxed{1} no no no no no \boxed{2}", r"$\boxed{1,2}$", {}, False),
        ("$9$", r"Answer \[ 9 \]", {}, True),
        (r"$(\frac{3}{5},\frac{8}{3}]$", "$(0.6,2.667]$", {"precision": 2}, True),
        (r"$x \in [-2,7]$", r"$-2 \le x \le 7$", {"allow_set_relation_comp": True}, True),
        (r"$x \in [-2,7]$", r"$-2 \le x \le 7$", {}, True),
        ("$[-2,7]$", r"$-2 \le x \le 7$", {"allow_set_relation_comp": False}, False),
        ("1000.99", "so the number is 10 which is 1,000.99m²", {}, True),
        ("5", "", {}, False),
    ],
)
def test_pairs(gold, answer, params, expected):
    verdict = fast_equiv({"gold": gold, "response": answer, "params": params})
    assert (verdict.outcome is Outcome.CORRECT) == expected


@given(
    st.text(st.characters(categories=["N", "Z"]) | st.sampled_from("abqz.,;:()$\n"), max_size=99)
)
@settings(max_examples=300)
def test_prose_around_a_box_changes_nothing(prose):
    assert outcome("42", prose + r" \boxed{42} " + prose) == "correct"
    assert outcome("42", prose + r" \boxed{43} " + prose) == "wrong"


PIECES = (
    r"\boxed{ } { \frac \sqrt 1 23 4. , ( ) [ ] \{ \} ^ _ x e \pi \pm + - / = < \text{a} \% $ ! |"
    r" \begin{pmatrix} \end{pmatrix} & \\ \cup \infty \sin \log <think> </think> #### not 0"
)
pieces = st.lists(st.sampled_from(PIECES.split()))


@given(pieces, pieces)
@settings(max_examples=500, deadline=None)
def test_any_pair_of_texts_has_a_verdict(gold, response):
    row = {"gold": "".join(gold), "response": "\\boxed{" + "".join(response) + "}"}
    for decided in (fast(row), fast_equiv(row)):
        assert decided is None or isinstance(decided.outcome, Outcome)


@pytest.mark.parametrize(
    "text",
    [
        "\\boxed{" * 150_000,
        "\\boxed{" + "(" * 3000 + "5" + ")" * 3000 + "}",
        "\\boxed{" + "\\sqrt" * 180 + "5}",
        "\\boxed{" + "-" * 900 + "5x}",
        "\\boxed{" + "1+" * 400 + "1}",
        "\\boxed{" + "9" * 990 + "}",
        "$" * 1_000_000,
        "answer is " * 100_000,
        "\\(" * 500_000,
        "1,111" * 200_000,
        "\0\ud800\u202e5\u202c",
    ],
    ids=lambda text: repr(text[:12]),
)
@pytest.mark.parametrize("gold", ["5", r"\sqrt{2}+\pi", "x^2+1", "[1,2)", r"\text{Friday}", "n!"])
def test_hostile_text_is_decided_here(text, gold):
    assert fast({"gold": gold, "response": text}).outcome is Outcome.WRONG
    fast_equiv({"gold": gold, "response": text})


@pytest.mark.component
def test_the_remainder_goes_to_math_verify_in_a_child():
    assert fast({"gold": r"\frac{1}{2}", "response": r"\boxed{\int_0^1 x\,dx}"}) is None
    half = r"\boxed{\int_0^1 x\,dx}"
    found = {
        gold: workers.grade("math", {"gold": gold, "response": half}).outcome.value
        for gold in (r"\frac{1}{2}", r"\frac{1}{3}", r"\oslash @ ???")
    }
    assert found == {
        r"\frac{1}{2}": "correct",
        r"\frac{1}{3}": "wrong",
        r"\oslash @ ???": "ungradable",
    }
