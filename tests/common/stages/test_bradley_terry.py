"""The Bradley-Terry trainer: its loss in float64, its files, and what it learns."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from common.services.reward_server import RewardServer
from common.services.server import Options
from common.stages import bradley_terry
from common.stages.bradley_terry import bradley_terry_loss, measure, read_pairs
from common.stages.prepare_model import character_tokenizer
from data.parquet import write_parquet

TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
SIGNALS = ["more_a", "more_b"]


def test_the_loss_and_its_gradient_against_numpy():
    rng = np.random.default_rng(3)
    chosen, rejected = rng.standard_normal((2, 50)) * 5
    probability = 1 / (1 + np.exp(rejected - chosen))
    tensors = [torch.tensor(x, requires_grad=True) for x in (chosen, rejected)]
    loss = bradley_terry_loss(*tensors)
    assert loss.item() == pytest.approx(-np.log(probability).mean(), rel=1e-12)
    loss.backward()
    for tensor, sign in zip(tensors, (-1, 1), strict=True):
        np.testing.assert_allclose(tensor.grad, sign * (1 - probability) / 50, atol=1e-15)
    assert bradley_terry_loss(torch.tensor([1e4]), torch.tensor([-1e4])).item() == 0.0
    assert bradley_terry_loss(torch.tensor([-1e4]), torch.tensor([1e4])).item() == 2e4


def pairs(count):
    """Texts of a and b: the one with more of the signal's letter is preferred."""
    rng, rows = np.random.default_rng(0), []
    while len(rows) < count:
        signal = SIGNALS[len(rows) % 2]
        texts = ["".join(rng.choice(list("ab"), 6)) for _ in range(2)]
        texts.sort(key=lambda text: text.count(signal[-1]), reverse=True)
        if texts[0].count(signal[-1]) > texts[1].count(signal[-1]):
            asked = {"role": "user", "content": "c:"}
            chats = [[asked, {"role": "assistant", "content": text}] for text in texts]
            rows.append({"chosen": chats[0], "rejected": chats[1], "signal": signal})
    return rows


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reward_model")
    tokenizer = character_tokenizer("abc:", TEMPLATE)
    config = transformers.Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder / "start")
    tokenizer.save_pretrained(folder / "start")
    rows = pairs(400)
    write_parquet(folder / "train.parquet", rows[:300])
    write_parquet(folder / "validation.parquet", rows[300:])
    options = {"signals": SIGNALS, "steps": 60, "batch_size": 32, "lr": 3e-3, "lr_warmup_steps": 5}
    options |= {"weight_decay": 0.0, "clip_grad": 1.0, "max_length": 8}
    return {
        "seed": 1,
        "start": str(folder / "start"),
        "train": str(folder / "train.parquet"),
        "validation": str(folder / "validation.parquet"),
        "device": "cpu",
        "reward_model": options,
    }


@pytest.mark.component
def test_each_head_learns_its_own_signal_and_the_server_gives_its_scores(spec, tmp_path):
    bradley_terry.train(spec, tmp_path)
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert found["more_a/accuracy"] > 0.9 and found["more_b/accuracy"] > 0.9  # opposite signals
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 61))
    assert lines[-1]["data"]["train/loss"] < lines[0]["data"]["train/loss"] / 2
    served = RewardServer(Options(str(tmp_path / "model"), weights=(1.0, 0.0)))
    items = served.read({"input": ["c:aaaaab", "c:bbbbba"]})
    data = served.write(items, served.compute(items))["data"]
    assert data[0]["probs"][0] > data[1]["probs"][0] and data[0]["heads"][1] < data[1]["heads"][1]


def test_equal_scores_count_half(monkeypatch):
    given = (torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 1.0, 5.0]))
    monkeypatch.setattr(bradley_terry, "scores", lambda *_: given)
    some = [([1], [2], 0)] * 3
    found, result = measure(torch.nn.Identity(), None, some, ["x"], 3)
    right = {"id": ["0", "1", "2"], "n": [1, 1, 1], "c": [0, 1, 0]}  # in a record none counts half
    assert result == {"reward model, x": {"problems": right}}
    assert found["x/accuracy"] == 0.5
    assert found["x/mean"] == pytest.approx(13 / 6)
    assert found["x/std"] == pytest.approx(np.std([1, 2, 3, 1, 1, 5]))


@pytest.mark.parametrize(
    ("signals", "longest", "says"),
    [(["more_a"], 8, "row 1: signal 'more_b' is none of"), (SIGNALS, 7, "row 0 has more than")],
)
def test_a_row_that_does_not_fit_is_named(spec, signals, longest, says):
    tokenizer = transformers.AutoTokenizer.from_pretrained(spec["start"])
    with pytest.raises(ValueError, match=f"train.parquet: {says}"):
        read_pairs(Path(spec["train"]), tokenizer, signals, longest)
