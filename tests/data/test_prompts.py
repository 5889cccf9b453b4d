"""Rendered prompts are golden: a change of a template's text is a change of the experiment."""

import hashlib
import json
from pathlib import Path

import pytest

from data import prompts

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
BOX = "Please reason step by step, and put your final answer within \\boxed{}."
VALUES = {
    "problem": "What is $\\frac{1}{x}$ at {x=2}?",
    "numbers": [3, 5, 8],
    "target": 16,
    "documents": "[1] A.\n[2] B.",
    "text": "It is 2.",
    "response": "3 + 5 = 8",
    "question": "What is 2?",
    "format": "As you like.",
}
RENDERED = {
    "plain": [("user", "What is $\\frac{1}{x}$ at {x=2}?")],
    "simplerl": [("system", BOX), ("user", "What is $\\frac{1}{x}$ at {x=2}?")],
    "simplerl_warmup_raw": [
        ("user", f"[Round 0] USER:\nWhat is $\\frac{{1}}{{x}}$ at {{x=2}}?\n{BOX} ASSISTANT:\n")
    ],
    "psr_nsr": [
        ("system", "You are a helpful assistant."),
        ("user", f"What is $\\frac{{1}}{{x}}$ at {{x=2}}?\n{BOX}"),
    ],
    "boxed_integer": [
        (
            "user",
            "Solve the following math problem step by step. Put your final answer, an integer, in "
            "\\boxed{}.\n\nWhat is $\\frac{1}{x}$ at {x=2}?",
        )
    ],
    "gsm8k_hashes": [
        (
            "user",
            "What is $\\frac{1}{x}$ at {x=2}?\n\n"
            'Think step by step and put the final answer after "####".',
        )
    ],
}


# The first digits of the sha256 of every template's messages, as JSON.
DIGESTS = {
    "boxed_integer": "3fb79c3342c33d61",
    "codeforces": "892ff3186b4c9d77",
    "corpus_backtracking": "235d8c9de83278a3",
    "corpus_backward": "d65f526c6e7bc3a3",
    "corpus_solution": "82dafc4a30194a88",
    "corpus_subgoal": "4ff55a2c0ccdb8ec",
    "corpus_verification": "c975c75d0890e790",
    "countdown_raw": "b88ed512055fb641",
    "gemma_voting": "6da55641e8873af8",
    "gemma_voting_sft_raw": "5729a09be7fe772b",
    "gsm8k_hashes": "a437e392e0e93555",
    "habit_backtracking": "bd53dfbaebcb92a1",
    "habit_backward": "350d326cf11410a0",
    "habit_subgoal": "d717ec3f4e58f38d",
    "habit_verification": "b42fad17cf9ff581",
    "livecodebench": "37ae2b836ea584d1",
    "logic_rl_base_eval_raw": "92ef6395d5593046",
    "logic_rl_base_math_raw": "95f13782db40206a",
    "logic_rl_base_raw": "c44c63e4f02bb5c3",
    "logic_rl_instruct_eval_raw": "07f5fe1e279aa6c0",
    "logic_rl_instruct_math_raw": "ebf07f2d8c38938c",
    "logic_rl_instruct_raw": "a658ca3d79c144c6",
    "nomiracl": "cd01712d118e8483",
    "plain": "e3a7cbf3ed36a7e6",
    "priming_all_strategies": "5aa9d63194b7bdc7",
    "priming_backtracking_backward": "2bb4102d0c47e7bb",
    "priming_backtracking_subgoal": "2781b026aca020e3",
    "priming_backtracking_verification": "0a2259a0a683b952",
    "priming_only_backtracking": "e6ed4f21330b74f4",
    "psr_nsr": "1be393f76a59c7f1",
    "question_raw": "d4e4799d72b0f622",
    "rag": "17fd519aa92389d2",
    "rag_zh": "b579001339294f12",
    "rewrite_curated": "d8bfe5efee3f92c9",
    "rewrite_minimized": "1483dcfe84f77cc0",
    "simplerl": "7a9d5b9069754b18",
    "simplerl_warmup_raw": "f1bffe7ea3ea38a3",
}


def test_no_rendered_text_changed():
    rendered = {name: prompts.load(name).render(VALUES) for name in prompts.names()}
    digests = {
        name: hashlib.sha256(json.dumps(messages, ensure_ascii=False).encode()).hexdigest()[:16]
        for name, messages in rendered.items()
    }
    assert digests == DIGESTS


@pytest.mark.parametrize("name", sorted(RENDERED))
def test_rendered_text(name):
    messages = prompts.load(name).render(VALUES)
    assert [(m["role"], m["content"]) for m in messages] == RENDERED[name]


@pytest.mark.parametrize("name", prompts.names())
def test_every_template_is_read_and_has_a_user_turn(name):
    template = prompts.load(name)
    assert "user" in [role for role, _ in template.turns] and template.fields
    assert template.label == f"{name} {template.sha256}" and len(template.sha256) == 64


def test_the_sha_is_of_the_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(prompts, "FOLDER", tmp_path)
    shas = set()
    for text in ("# a\n[user]\n{problem}\n", "# b\n[user]\n{problem}\n"):
        (tmp_path / "x.txt").write_text(text)
        prompts.load.cache_clear()
        shas.add(prompts.load("x").sha256)
    prompts.load.cache_clear()
    assert len(shas) == 2


def test_faults_are_named(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="no prompt template 'simplrl'; there is simplerl"):
        prompts.load("simplrl")
    with pytest.raises(ValueError, match="countdown_raw: the problem has no 'numbers'"):
        prompts.load("countdown_raw").render({"problem": "x", "target": 3})
    monkeypatch.setattr(prompts, "FOLDER", tmp_path)
    (tmp_path / "bare.txt").write_text("Solve {problem}\n")
    with pytest.raises(ValueError, match="bare.txt: begin with # lines"):
        prompts.load("bare")


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared data")
def test_countdown_prompt_equals_the_published_one():
    template = prompts.load("countdown_raw")
    for line in (SHARED / "countdown/tinyzero_test.jsonl").read_text().splitlines():
        row = json.loads(line)
        (message,) = template.render({"numbers": row["nums"], "target": row["target"]})
        assert message["content"] == row["prompt"]


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared data")
def test_knights_and_knaves_prompt_equals_the_published_one():
    template = prompts.load("logic_rl_instruct_raw")
    for line in (SHARED / "kk_logic_rl/test.jsonl").read_text().splitlines():
        row = json.loads(line)
        (message,) = template.render({"problem": row["quiz"]})
        assert message["content"] == row["prompt"]
