"""qwen3_ppo: what its arms are, its prompt pool, and its graders behind a thought."""

import csv
from collections import Counter
from functools import cache
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf
from verl.trainer.ppo import core_algos

from common.checks import check_config
from common.checks.configuration import check_separate
from common.config import ROOT, choices, compose_run, leaves, recipe_folder
from common.habits.chat import Answer
from common.plugin.agent_loop import thinks
from common.results.claims import load_claims
from common.results.paper import load_paper
from common.results.statistics import block_length
from common.rewards.registry import get_grader
from common.rewards.rule import KEY
from common.rewards.selection import Selection
from common.stages.prepare_model import word_tokenizer
from data import prompt_pool as published
from data import qwen3_ppo as pool
from data import teacher
from data.parquet import prompt_row, read_parquet, write_parquet
from tests.composed import composed

FOLDER = recipe_folder("qwen3_ppo")
SELECTION = "trainer.v1.sampler.sampler_kwargs.selection"
TABLE = ROOT / "../shared/papers/tables/qwen3_ppo.csv"
COLUMNS = ("data_source", "prompt", "extra_info")
GRADERS = {
    "checkable_instructions": "checkable",
    "retrieval_qa": "kbqa_strict",
    "arithmetic_chain": "arithmetic_chain",
}


@cache
def arm(variant="ppo", scale="micro", *overrides):
    if not overrides:
        return composed("qwen3_ppo", scale, variant)
    return compose_run(FOLDER, scale, variant, 1, list(overrides))


ARMS = {
    "all16": {f"{SELECTION}.rule": "all", f"{SELECTION}.lowest": 0, f"{SELECTION}.highest": 0},
    "select_then_normalise": {f"{SELECTION}.normalise": "after"},
    "kl_target": {"algorithm.kl_ctrl.type": "adaptive"},
    "sft_tiny": {"recipe.method": "sft", "recipe.warmup": "tiny"},
    "sft_lite": {"recipe.method": "sft", "recipe.warmup": "lite"},
    "sft_heavy": {"recipe.method": "sft", "recipe.warmup": "heavy"},
    "sft_then_ppo": {"recipe.warmup": "lite"},
}


@pytest.mark.parametrize("scale", ["micro", "node8"])
@pytest.mark.parametrize("variant", ARMS)
def test_an_arm_is_its_delta(variant, scale):
    check_config(arm(variant, scale))
    plain, other = (dict(leaves(arm(v, scale).config)) for v in ("ppo", variant))
    differing = {k: other[k] for k in other if plain.get(k) != other[k]}
    assert differing == ARMS[variant] | {"recipe.variant": variant}
    assert {*ARMS, "ppo"} == set(choices(FOLDER, "variant"))


@pytest.mark.parametrize("scale", ["micro", "node8"])
def test_a_kl_target_is_followed_at_the_papers_pace(scale):
    """verl's controller compares means over tokens, and counts responses of the update."""
    run = arm("kl_target", scale)
    control = core_algos.get_kl_controller(OmegaConf.create(run.get("algorithm.kl_ctrl")))
    kept = Selection(**run.get(SELECTION)).kept_of(run.get("actor_rollout_ref.rollout.n"))
    for kl, factor in ((1.0, 1.02), (0.25, 1.0), (0.0, 0.98)):
        before = control.value
        control.update(kl, kept * run.get("data.train_batch_size"))
        assert control.value == pytest.approx(before * factor)


def test_node8_is_the_posts_setting():
    run = arm(scale="node8")
    rollout = run.get("actor_rollout_ref.rollout")
    assert (run.ranks, run.samplers, rollout["name"]) == (7, 1, "vllm")
    assert run.get("trainer.v1.trainer_mode") == "separate_async_reference_service"
    assert not run.get("actor_rollout_ref.hybrid_engine") and run.get("critic.enable")
    assert (rollout["n"], run.get("data.max_response_length")) == (16, 2048)
    for part in ("actor_rollout_ref.actor", "critic"):
        assert run.get(part)["ppo_micro_batch_size_per_gpu"] == 4
    addresses = [run.get("algorithm.reference_service.address")]
    addresses.append(run.get(f"{KEY}.reward_kwargs.neural.service.address"))
    assert all(address.startswith("http://") for address in addresses)  # services elsewhere
    models = {s: arm(scale=s).recipe.models["instruct"].hub for s in ("node8", "node8_1b7")}
    assert models == {"node8": "Qwen/Qwen3-4B", "node8_1b7": "Qwen/Qwen3-1.7B"}
    # every benchmark that the post names has its own, or a stand-in
    printed = {n.benchmark for n in load_paper(FOLDER / "paper.csv") if n.benchmark}
    ours = set(run.recipe.evaluation.benchmarks)
    assert {b for b in printed - ours if not b.startswith("instruct_follow zh")} == set()


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("trainer.v1.separate_async.parameter_sync_step=2", "copy of the old policy is the policy"),
        ("actor_rollout_ref.rollout.nnodes=0", "it samples on ranks of its own"),
        ("actor_rollout_ref.rollout.checkpoint_engine.backend=naive", "set gloo and custom"),
    ],
)
def test_a_sampler_beside_the_trainer_needs_its_settings(override, says):
    with pytest.raises(ValueError, match=says):
        check_separate(arm("ppo", "micro", override))


def test_qwen3s_template_thinks_where_it_is_asked_to():
    template = (FOLDER / "qwen3.jinja").read_text()
    tokenizer = word_tokenizer(["a"], template)

    def written(content, **options):
        turns = [{"role": "system", "content": "s"}, {"role": "user", "content": content}]
        turns += options.pop("more", [])
        return tokenizer.apply_chat_template(turns, tokenize=False, **options)

    plain = written("q", add_generation_prompt=True)
    assert plain.endswith("q<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n")
    (turn,) = published.thinking([{"role": "user", "content": "q"}])
    asked = written(turn["content"], add_generation_prompt=True)
    assert asked.endswith("q /think<|im_end|>\n<|im_start|>assistant\n")
    taught = written("q", more=[{"role": "assistant", "content": "x"}])
    assert taught == plain + "x<|im_end|>\n"


def test_ifevals_four_metrics():
    """By prompt and by instruction, strictly and loosely; a thought is not graded."""
    ids = ["change_case:english_lowercase", "keywords:existence"]
    gold = {"prompt": "p", "instruction_id_list": ids, "kwargs": [{}, {"keywords": ["cat"]}]}
    row = prompt_row("ifeval", "p", gold, "test", 0)
    rows = published.each_instruction([row])
    assert [r["extra_info"]["index"] for r in rows] == [0, 1]
    said = "<think>A DOG</think>Here it is:\nthe small cat sleeps on the old sofa in our kitchen"
    found = {
        name: [
            get_grader(f"recipes.qwen3_ppo.task:{name}")
            .grade({"response": said, "gold": r["reward_model"]["ground_truth"]})
            .score
            for r in [row, *rows]
        ]
        for name in ("ifeval", "ifeval_loose")
    }
    # loosely the first line may go, and with it the capital
    assert found == {"ifeval": [0, 0, 1], "ifeval_loose": [1, 1, 1]}


def test_a_teachers_answers_become_chats(tmp_path):
    """Of an answer with a thought the rest is kept, and one that was cut is left out."""
    asked = [[{"role": "user", "content": f"q{i}"}] for i in range(3)]
    rows = [prompt_row("ultrafeedback", prompt, "-", "train", i) for i, prompt in enumerate(asked)]
    write_parquet(tmp_path / "train.parquet", rows)
    answers = [Answer("<think>x</think>\na0", "stop", 1, 1), Answer("a1", "length", 1, 1)]
    chat = SimpleNamespace(cost="free", answers=lambda prompts: answers[: len(prompts)])
    teacher.answer(tmp_path / "train.parquet", tmp_path / "taught.jsonl", chat, 2)
    chats = published.teachers(tmp_path / "taught.jsonl", rows)
    assert chats == [{"messages": [*asked[0], {"role": "assistant", "content": "a0"}]}]
    with pytest.raises(ValueError, match="answers no prompt of this pool"):
        published.teachers(tmp_path / "taught.jsonl", rows[1:])


def test_claims_and_published_numbers_are_readable():
    numbers = {(n.variant, n.benchmark): n.value for n in load_paper(FOLDER / "paper.csv")}
    assert numbers["ppo", "kbqa"] == 84.1 and numbers["sft_heavy", "kbqa, answerable"] == 59.07
    claims = load_claims(FOLDER / "claims.yaml")
    assert all(claim.informed_by is None for claim in claims)
    # of fewer blocks an interval within one seed, which most arms have, is unbounded
    ends = [m.k for claim in claims for m in claim.parsed.measurements if m.k > 1]
    assert ends and all(k / block_length(k) >= 2 for k in ends)
    # what a claim asks of a benchmark can be measured at its scales; an entropy at temperature 1
    for claim in claims:
        for scale in claim.scales or ("micro", "node8", "node8_1b7"):
            known = arm(scale=scale).recipe.evaluation.benchmarks
            named = [m for m in claim.parsed.measurements if m.function in ("accuracy", "entropy")]
            for m in named:
                own = known[m.name.removesuffix("@base")].temperature
                temperature = arm(scale=scale).recipe.evaluation.temperature if own is None else own
                assert m.function == "accuracy" or temperature == 1, claim.id


@pytest.mark.skipif(not TABLE.exists(), reason="the table of the post is not at hand")
def test_published_numbers_are_those_of_the_table():
    with TABLE.open() as file:
        values = Counter(
            round(float(r["value"]), 4) for r in csv.DictReader(file) if r["benchmark"]
        )
    for number in load_paper(FOLDER / "paper.csv"):
        if number.benchmark:
            scale = 1 if number.benchmark.startswith("instruct_follow") else 100
            assert values[round(number.value / scale, 4)], number


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    options = arm().recipe.data.options | {"sft": 600, "sft_noisy": 100, "preferences_train": 100}
    pool.build(folder, 1, **options)
    return folder


def test_the_pool_is_mixed_as_published(built):
    rows = read_parquet(built / "train.parquet", COLUMNS)
    sources = Counter(row["data_source"] for row in rows)
    assert sources == {"checkable_instructions": 346, "retrieval_qa": 96, "arithmetic_chain": 38}
    for row in rows:
        extra, (turn,) = row["extra_info"], row["prompt"]
        assert extra["think_prompt"] == [turn | {"content": "think " + turn["content"]}]
        assert extra["think_share"] == 0.05
        assert extra["prompt"] == row["prompt"]  # the reward model reads it
    drawn = [thinks(rows[0]["extra_info"], seed) for seed in range(10000)]
    assert sum(drawn) == pytest.approx(500, abs=100)
    parts = [
        [row["extra_info"]["prompt"] for row in read_parquet(built / f"{name}.parquet", COLUMNS)]
        for name in ("kbqa_answerable", "kbqa_unanswerable", "kbqa")
    ]
    assert len(parts[0]) + len(parts[1]) == len(parts[2]) == 300
    assert all(prompt in parts[2] for part in parts[:2] for prompt in part)


def test_what_is_taught_is_right_fits_and_is_held_apart(built):
    run = arm()
    build = run.recipe.models["instruct"].build
    tokenizer = word_tokenizer([*build["characters"], *build["words"]], "")

    def tokens(text):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.unk_token_id not in ids, text
        return len(ids)

    rows = read_parquet(built / "train.parquet", ("data_source", "reward_model", "prompt"))
    chats = read_parquet(built / "taught.parquet", ("messages",))
    for row, chat in zip(rows, chats, strict=True):
        asked, answer = chat["messages"]
        assert asked["content"].removeprefix("think ") == row["prompt"][0]["content"]
        grader = get_grader(f"recipes.qwen3_ppo.task:{GRADERS[row['data_source']]}")
        gold = row["reward_model"]["ground_truth"]
        assert grader.grade({"response": answer["content"], "gold": gold}).score == 1.0
    held_out = set()
    for name in ("validation", "general", "kbqa", "chains"):
        file = read_parquet(built / f"{name}.parquet", ("prompt",))
        held_out |= {row["prompt"][0]["content"].removeprefix("think ") for row in file}
    for name in ("taught", "sft", "sft_noisy"):
        for row in read_parquet(built / f"{name}.parquet", ("messages",)):
            asked, answer = (turn["content"] for turn in row["messages"])
            assert asked.removeprefix("think ") not in held_out
            assert tokens(asked) <= run.get("data.max_prompt_length")
            assert tokens(answer) < run.get("data.max_response_length")


@pytest.mark.parametrize(
    ("response", "score"),
    [
        ("1+1=2;", 1.0),
        ("<think>1+1=3;</think>1+1=2;", 1.0),
        ("<think>1+1=2;</think>1+1=3;", 0.0),
        ("<think>1+1=2;", 0.0),  # not closed: no answer
        ("</think>1+1=3;</think>1+1=2;", 1.0),
        (None, 0.0),
    ],
)
def test_what_follows_the_thought_is_graded(response, score):
    grader = get_grader("recipes.qwen3_ppo.task:arithmetic_chain")
    assert grader.grade({"response": response, "gold": "2"}).score == score
