"""The router with a neural branch: one branch for each source, each on its scale."""

import asyncio
import inspect
import math

import pytest
from omegaconf import OmegaConf
from verl.trainer.ppo.metric_utils import process_validation_metrics
from verl.trainer.ppo.reward import get_custom_reward_fn

from common.rewards import neural, rule
from common.rewards.neural import Neural
from common.services.client import ServiceError
from common.services.reward import RewardModel

NEURAL = {"sources": ["general"], "service": {"address": "/a/reward.json"}, "tokenizer": "rm"}
KWARGS = {
    "graders": {"chains": "arithmetic_chain"},
    "neural": NEURAL,
    "scales": {"general": {"mean": -2, "std": 4.0}},
}
FUNCTION = {"path": rule.PATH, "name": rule.ROUTE}
PROMPT = [{"role": "system", "content": "s"}, {"role": "user", "content": "two words?"}]


@pytest.fixture
def texts(monkeypatch):
    """What the reward model is asked for; it scores a text by its length."""
    found = []

    async def ascore(self, asked):
        found.extend(asked)
        if "away" in str(asked):
            raise ServiceError("away")
        return [float(len(text)) for text in asked]

    class Tokenizer:
        def apply_chat_template(self, chat, tokenize):
            return "".join(f"{turn['role'][0]}:{turn['content']};" for turn in chat)

    monkeypatch.setattr(RewardModel, "ascore", ascore)
    monkeypatch.setattr(Neural, "_tokenizer", Tokenizer())
    return found


def verls_function():
    """As verl calls it: with the configuration's own mappings."""
    config = {"reward": {"custom_reward_function": FUNCTION | {"reward_kwargs": KWARGS}}}
    return get_custom_reward_fn(OmegaConf.create(config))


def route(source, response, gold, extra=None):
    return asyncio.run(
        verls_function()(
            data_source=source, solution_str=response, ground_truth=gold, extra_info=extra
        )
    )


def test_verl_waits_for_it_and_each_source_has_its_branch(texts):
    assert inspect.iscoroutinefunction(verls_function())
    general = route("general", "a b", "", {"prompt": PROMPT})
    assert texts == ["s:s;u:two words?;a:a b;"]
    assert general["raw_score"] == 23.0 and general["score"] == (23 + 2) / 4
    assert general["acc"] is None and math.isnan(general["format"])
    chain = route("chains", "1+1=2;", "2", {})
    assert chain["score"] == chain["raw_score"] == 1.0  # on its grader's scale
    assert chain.keys() == general.keys() and len(texts) == 1
    with pytest.raises(ValueError, match="'other' has no grader"):
        route("other", "x", "")
    with pytest.raises(ServiceError, match="away"):
        route("general", "away", "", {"prompt": "x"})


def test_a_grader_of_a_reward_models_source_is_paid_nothing(texts):
    both = KWARGS | {"graders": dict.fromkeys(("chains", "general"), "arithmetic_chain")}
    rules = rule.Rules.of(FUNCTION | {"reward_kwargs": both})
    found = asyncio.run(rules.route("general", "1+1=3;", "2", {"prompt": "p"}))
    assert found["raw_score"] == len("u:p;a:1+1=3;;") and found["acc"] == 0.0
    right = rules.score("general", "1+1=2;", "2", {})  # of an evaluation
    assert right["acc"] == right["raw_score"] == 1.0 and right.keys() == found.keys()
    row = {"data_source": "general", "reward_model": {"ground_truth": "2"}, "extra_info": {}}
    with pytest.raises(ValueError, match="extra_info.prompt: missing"):
        rules.check([row], "train.parquet")


def test_verl_takes_the_reward_for_the_accuracy_of_a_source_without_one(texts):
    rows = [route("general", "a b", "", {"prompt": "p"}), route("chains", "1+1=2;", "2", {})]
    infos = {key: [row[key] for row in rows] for key in rows[0]} | {"reward": [6.0, 1.0]}
    counts = {("general", "u"): 1, ("chains", "v"): 1}
    found = process_validation_metrics(
        ["general", "chains"], ["u", "v"], infos, expected_acc_counts=counts
    )
    assert "acc" not in found["general"] and found["general"]["reward"]["mean@1"] == 6.0
    assert found["chains"]["acc"]["mean@1"] == 1.0


def test_the_form_that_takes_prompt_and_response_apart():
    pairs = Neural(["general"], neural.Connection("http://127.0.0.1:9/score"))
    assert pairs.text(PROMPT, "a") == ("s\ntwo words?", "a")
    assert pairs.text("p", "a") == ("p", "a")


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({"neural": NEURAL | {"sources": []}}, "neural.sources: none is named"),
        ({"neural": NEURAL | {"tokenizer": None}}, "tokenizer=None: the reward model's folder"),
        ({"neural": NEURAL | {"adress": "x"}}, "neural.adress: unknown key"),
        ({"grader": "arithmetic_chain"}, "exactly one of|not grader, beside"),
        ({"scales": {"chains": {"mean": 0, "std": 0}}}, "std above 0"),
        ({"scales": {"other": {"mean": 0, "std": 1}}}, "scales.other: nothing scores"),
        ({"scales": {"chains": {"mean": 0}}}, "scales.chains.std: missing"),
    ],
)
def test_a_wrong_configuration_is_refused_in_one_line(kwargs, says):
    with pytest.raises(ValueError, match=says) as error:
        rule.Rules.of(FUNCTION | {"reward_kwargs": KWARGS | kwargs})
    assert str(error.value).startswith("reward.custom_reward_function.reward_kwargs")
    assert "\n" not in str(error.value)


def test_a_function_that_reads_neither_model_nor_scales_is_refused():
    plain = FUNCTION | {"name": rule.NAME, "reward_kwargs": KWARGS}
    with pytest.raises(ValueError, match="set pkg://common.rewards.rule and route"):
        rule.Rules.of(plain)
    scaled = {"grader": "arithmetic_chain", "scales": {"x": {"mean": 0, "std": 1}}}
    with pytest.raises(ValueError, match="only route reads scales"):
        rule.Rules.of(plain | {"reward_kwargs": scaled})


def test_rows_without_a_prompt_are_refused_by_file():
    rules = rule.Rules.of(FUNCTION | {"reward_kwargs": KWARGS})
    row = {"data_source": "general", "reward_model": {"ground_truth": ""}}
    rules.check([row | {"extra_info": {"prompt": "p"}}], "train.parquet")
    with pytest.raises(ValueError, match="^train.parquet: extra_info.prompt: missing"):
        rules.check([row | {"extra_info": {"prompt": None}}], "train.parquet")
    with pytest.raises(ValueError, match="in training alone; give the benchmark a grader"):
        rules.score("general", "x", "", {"prompt": "p"})
