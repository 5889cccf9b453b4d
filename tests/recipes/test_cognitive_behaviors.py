"""Cognitive behaviors: what its arms are, its rewards in words and symbols, and its files."""

import csv
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.config import STEPS_KEY, choices, leaves, recipe_folder
from common.habits import HABITS
from common.habits.checks import CLAIMS
from common.habits.corpus import STYLES
from common.results.claims import load_claims
from common.results.paper import load_paper
from common.rewards.countdown import grade_published
from common.rewards.registry import get_grader
from common.rewards.verdict import Outcome
from common.stages.prepare_model import character_tokenizer
from common.stages.sft import phase_config
from data.habit_traces import ALPHABET, SETS, draw, trace
from data.parquet import write_parquet
from recipes.cognitive_behaviors.task import GRADERS, in_words
from tests.composed import composed

FOLDER = recipe_folder("cognitive_behaviors")
SCALES = choices(FOLDER, "scale")
VARIANTS = choices(FOLDER, "variant")
GRADE = {grader.name: grader.grade for grader in GRADERS}
ACTOR = "actor_rollout_ref.actor"


def run(variant="all_strategies", scale="node8"):
    return composed("cognitive_behaviors", scale, variant)


# --- the arms ---------------------------------------------------------------------------------


def test_the_papers_setting():
    for scale in ("node8", "node8_llama"):
        made = run(scale=scale)
        for key, value in {
            "algorithm.adv_estimator": "gae",
            "algorithm.gamma": 1,
            "algorithm.lam": 1,
            "algorithm.use_kl_in_reward": True,
            "algorithm.kl_penalty": "kl",
            "data.train_batch_size": 256,
            "data.max_prompt_length": 256,
            "data.max_response_length": 1024,
            "actor_rollout_ref.rollout.n": 4,
            "actor_rollout_ref.rollout.temperature": 1.0,
            f"{ACTOR}.ppo_mini_batch_size": 128,
            f"{ACTOR}.optim.lr": 1e-6,
            f"{ACTOR}.clip_ratio": 0.2,
            f"{ACTOR}.entropy_coeff": 0.001,
            f"{ACTOR}.use_kl_loss": False,
            "critic.enable": True,
            "critic.optim.lr": 1e-5,
            "critic.cliprange_value": 0.5,
            STEPS_KEY: 250,
        }.items():
            assert made.get(key) == value, key
        assert made.get("algorithm.kl_ctrl")["kl_coef"] == 0.001
    options = run().recipe.data.options
    assert options["train"] == [{"source": "countdown", "take": 327680}]
    assert options["tests"]["test"] == [{"source": "countdown", "skip": 327680, "take": 1024}]
    hubs = [run(scale=s).recipe.models["base"].hub for s in ("node8", "node8_llama")]
    assert hubs == ["Qwen/Qwen2.5-3B", "meta-llama/Llama-3.2-3B"]


@pytest.mark.parametrize("scale", SCALES)
def test_an_arm_is_what_it_is_primed_with(scale):
    base = dict(leaves(run(scale=scale).config))
    warmup = "recipe.warmups.priming"
    chosen = {f"{warmup}.text", f"{warmup}.sft.phases", "recipe.data.options.priming"} & set(base)
    for variant in VARIANTS:
        arm = dict(leaves(run(variant, scale).config))
        found = {k for k in arm if base.get(k) != arm[k]} - {"recipe.variant"}
        if variant == "random_reward":
            assert found == {"reward.custom_reward_function.reward_kwargs.grader"}
        elif variant != "all_strategies":
            assert found == chosen | ({"recipe.warmup"} if variant == "none" else set())
            assert variant == "none" or arm[f"{warmup}.text"] == variant
    assert {*CLAIMS, *STYLES, "none", "random_reward"} == set(VARIANTS)


def priming(variant, scale="node8"):
    """verl's SFT configuration of an arm's priming."""
    spec = run(variant, scale).recipe.warmups["priming"].sft
    return phase_config(spec, spec.phases[0], 1)


def test_the_priming_is_sft_as_published():
    config = priming("all_strategies")
    assert config["trainer"]["total_training_steps"] == 60
    assert config["data"]["train_batch_size"] == 64 and config["optim"]["lr"] == 1e-5
    assert config["optim"]["betas"] == [0.9, 0.95]
    assert run().recipe.sft is None and run("none").recipe.warmup is None
    steps = run().recipe.steps["priming_curated"]
    assert priming("curated")["trainer"]["total_training_steps"] == steps > 60


@pytest.mark.parametrize("scale", ["micro", "node8"])
def test_arms_differ_in_the_file_alone(scale):
    for variant in set(VARIANTS) - {"none", *(STYLES if scale == "node8" else ())}:
        name = "all_strategies" if variant == "random_reward" else variant
        config, base = priming(variant, scale), priming("all_strategies", scale)
        assert config["data"].pop("train_files") == f"data/{name}.parquet"
        del base["data"]["train_files"]
        assert config == base


def test_the_tokenizer_has_every_symbol_and_responses_fit():
    made = run(scale="micro")
    assert sorted(made.recipe.models["base"].build["characters"]) == sorted(ALPHABET)
    longest = made.recipe.data.options["longest"]
    assert made.get("data.max_response_length") > longest
    room = priming("dots", "micro")["data"]["max_length"]
    assert room >= made.get("data.max_prompt_length") + longest + 1


# --- the rewards ------------------------------------------------------------------------------

GOLD = {"numbers": [3, 4, 2], "target": 14}


@pytest.mark.parametrize(
    ("response", "score", "habits"),
    [
        ("③*④=⑫+②=⑭!]{③*④+②}", 1, (1, 0, 0, 0)),
        ("③+②=⑤+④=⑨<~③*④=⑫+②=⑭]{③*④+②}", 1, (1, 1, 0, 0)),
        ("?⑭-②=⑫@⑫③*④=⑫+②=⑭]{③*④+②}", 1, (0, 0, 1, 1)),
        ("]{③*④+②}", 1, (0, 0, 0, 0)),
        ("......]{②+③*④}", 0.1, (0, 0, 0, 0)),  # left to right: 20
        ("]{③*④}", 0.1, (0, 0, 0, 0)),
        ("]{③*④+②", 0, (0, 0, 0, 0)),
        ("③*④=⑫+②=⑭", 0, (0, 0, 0, 0)),
        ("", 0, (0, 0, 0, 0)),
        ("3 * 4 = 12 </think>\n<answer> (3 * 4) + 2 </answer>", 1, (0, 0, 0, 0)),
        ("too low. </think>\n<answer> 14 </answer>", 0.1, (1, 0, 0, 0)),
        (None, 0, (0, 0, 0, 0)),
    ],
)
def test_the_reward_and_what_is_counted_beside_it(response, score, habits):
    found = GRADE["published"]({"response": response, "gold": GOLD})
    assert found.score == score
    assert tuple(found.details[h] for h in HABITS) == habits
    assert found.details["solved"] == (score == 1)
    coin = GRADE["random"]({"response": response, "gold": json.dumps(GOLD)})
    assert coin.score in (0, 1) and coin.details == found.details


@given(st.text() | st.text(alphabet=ALPHABET))
def test_any_response_gets_a_verdict(response):
    found = GRADE["published"]({"response": response, "gold": GOLD})
    assert found.score in (0, 0.1, 1)
    again = grade_published({"response": in_words(response), "gold": GOLD})
    assert (again.outcome, again.score) == (found.outcome, found.score)


def test_traces_are_paid_as_they_claim():
    rng = random.Random(2)
    for name, habits in SETS.items():
        for puzzle in (draw(rng, 20, (10, 50)) for _ in range(20)):
            response = trace(rng, puzzle, habits, 58)
            found = GRADE["published"]({"response": response, "gold": puzzle.gold})
            assert found.score == (0.1 if name == "incorrect" else 1)


@pytest.mark.parametrize("name", GRADE)
def test_a_gold_that_nobody_can_read(name):
    found = GRADE["published"]({"response": "]{③}", "gold": "?"})
    assert found.outcome is Outcome.UNGRADABLE
    with pytest.raises(ValueError, match="gold"):
        GRADE[name]({"response": "]{③}", "gold": 3})
    assert get_grader(f"recipes.cognitive_behaviors.task:{name}").name == name


# --- the papers' numbers ----------------------------------------------------------------------


def test_the_papers_numbers_and_the_claims_name_what_there_is():
    paper = load_paper(FOLDER / "paper.csv")
    accuracy = {(p.variant, p.benchmark): p.value for p in paper if p.metric == "accuracy"}
    assert accuracy["all_strategies", "test"] == 0.7734
    assert accuracy["before RL, empty_cot", "test (Llama-3.2-3B)"] == 0.06055
    claims = {c.id: c for c in load_claims(FOLDER / "claims.yaml")}
    printed = claims["all_over_dots"].paper.value
    expected = accuracy["all_strategies", "test"] - accuracy["dots", "test"]
    assert printed == pytest.approx(expected, abs=1e-3)
    wanted = {f"{a}_over_{b}" for a in ("all", "bv", "incorrect") for b in ("dots", "empty")}
    assert wanted | {"incorrect_as_good"} <= set(claims)


def test_the_published_curves_are_whole():
    with (FOLDER / "published_curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 569
    shown = {row["variant"] for row in rows} - {"human_cot", "base_70b"}
    assert shown == set(VARIANTS) - {"random_reward"}


# --- verl's SFT data --------------------------------------------------------------------------


@pytest.mark.component
def test_a_whole_text_is_taught_to_its_last_token_and_a_prompt_is_not(tmp_path):
    from omegaconf import OmegaConf
    from verl.utils.dataset.multiturn_sft_dataset import MultiTurnSFTDataset

    tokenizer = character_tokenizer(ALPHABET, (FOLDER / "raw.jinja").read_text())
    text = "①②③=④:[①+③=④*②=⑧>]{①+③*②}"
    prompt, response = text[:7], text[7:]
    parts = (("assistant", text),), (("user", prompt), ("assistant", response))
    rows = [{"messages": [{"role": r, "content": c} for r, c in turns]} for turns in parts]
    write_parquet(tmp_path / "texts.parquet", rows)
    options = OmegaConf.create({"max_length": 68, "truncation": "error", "pad_mode": "no_padding"})
    files = str(tmp_path / "texts.parquet")
    whole, chat = MultiTurnSFTDataset(files, tokenizer, options)
    assert whole["input_ids"].tolist() == chat["input_ids"].tolist()
    assert tokenizer.decode(whole["input_ids"]) == text + "<eos>"
    assert whole["loss_mask"].tolist() == [1] * (len(text) + 1)
    assert chat["loss_mask"].tolist() == [0] * 7 + [1] * (len(response) + 1)
