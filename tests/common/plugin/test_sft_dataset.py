"""What the loss of each scheme covers, token by token."""

from types import SimpleNamespace

import pytest

from common.plugin.sft_dataset import AnswerOnly, ReasoningAndAnswer, WholeText
from common.stages.prepare_model import word_tokenizer
from data.parquet import write_parquet

WORDS = [
    "sum",
    "?",
    "<reasoning>",
    "</reasoning>",
    "<answer>",
    "</answer>",
    "4",
    "[user]",
    "[model]",
]
TEMPLATE = "[user]{{ messages[0]['content'] }}{% if add_generation_prompt %}[model]{% endif %}"
ROW = {
    "prompt": [{"role": "user", "content": "sum?"}],
    "markup": False,
    "reasoning": "<reasoning>sum</reasoning>",
    "answer": "<answer>4<answer>",
}
PROMPT, MARKUP = ["sum", "?"], ["[user]", "sum", "?", "[model]"]
REASONING, ANSWER = ["<reasoning>", "sum", "</reasoning>"], ["<answer>", "4", "<answer>", "<eos>"]


@pytest.fixture
def load(tmp_path):
    tokenizer = word_tokenizer(WORDS, TEMPLATE)

    def load(kind, max_length=32, **changes):
        """The dataset of one row, its tokens, and those that are learnt."""
        write_parquet(tmp_path / "rows.parquet", [ROW | changes])
        config = SimpleNamespace(pad_mode="no_padding", max_length=max_length)
        made = kind([str(tmp_path / "rows.parquet")], tokenizer, config)
        (row,) = (made[i] for i in range(len(made)))
        tokens = tokenizer.convert_ids_to_tokens(row["input_ids"].tolist())
        assert row["position_ids"].tolist() == list(range(len(tokens)))
        learnt = [t for t, m in zip(tokens, row["loss_mask"].tolist(), strict=True) if m]
        return tokens, learnt

    return load


@pytest.mark.parametrize(
    ("kind", "learnt"),
    [
        (WholeText, PROMPT[1:] + REASONING + ANSWER),  # nothing predicts the first token
        (AnswerOnly, ANSWER),
        (ReasoningAndAnswer, REASONING + ANSWER),
    ],
)
def test_schemes(load, kind, learnt):
    assert load(kind) == (PROMPT + REASONING + ANSWER, learnt)


def test_a_chat_template_writes_the_prompt_where_it_shall(load):
    assert load(ReasoningAndAnswer, markup=True) == (
        MARKUP + REASONING + ANSWER,
        REASONING + ANSWER,
    )


def test_long_texts_are_cut_and_rows_without_anything_to_learn_are_left_out(load):
    tokens, learnt = load(WholeText, max_length=4)
    assert tokens == [*PROMPT, "<reasoning>", "sum"] and len(learnt) == 3
    with pytest.raises(ValueError, match="max_length=4 no row has anything to learn"):
        load(AnswerOnly, max_length=4)
