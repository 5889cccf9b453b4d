"""Composition: every recipe x scale x variant, strictness, and what a variant may change."""

import ast
import re
import shutil
from dataclasses import fields, is_dataclass
from functools import cache
from itertools import combinations
from pathlib import Path

import pytest
import yaml

from common import config, schema
from common.checks import check_config
from common.config import (
    ADDITIONS,
    ROOT,
    STEPS_KEY,
    choices,
    compose_run,
    compose_sft,
    leaves,
    recipe_folder,
    split_words,
)
from common.stages.sft import phase_config
from tests.composed import SEED, composed

RECIPES = sorted(p.parent for p in ROOT.glob("recipes/*/recipe.yaml"))
RUNS = [
    (folder, scale, variant)
    for folder in RECIPES
    for scale in choices(folder, "scale")
    for variant in choices(folder, "variant")
]
GSPO = recipe_folder("gspo_moe")


def compose(overrides=(), variant="gspo", scale="micro", seed=1):
    return compose_run(GSPO, scale, variant, seed, list(overrides))


@cache
def written_keys(path):
    """Dotted keys that a variant file sets, with those of the variants it builds on."""
    content = yaml.safe_load(path.read_text())
    bases = [b for b in content.pop("defaults", []) if b != "_self_"]
    keys = {k for k, _ in leaves(content)}
    return keys.union(*(written_keys(path.with_name(f"{b}.yaml")) for b in bases))


# What takes another key's value, in a recipe or in verl's own configuration.
FOLLOWERS = {
    "data.train_batch_size": (
        "actor_rollout_ref.actor.ppo_mini_batch_size",
        "critic.ppo_mini_batch_size",
    ),
    "actor_rollout_ref.rollout.temperature": (
        "distillation.teacher_models.teacher_model.inference.temperature",
    ),
}


@pytest.mark.parametrize(("folder", "scale", "variant"), RUNS, ids=lambda v: getattr(v, "name", v))
def test_every_run_composes_and_passes_the_checks(folder, scale, variant):
    run = composed(folder.name, scale, variant)
    check_config(run)
    assert run.recipe.seed == run.get("data.seed") == SEED
    assert run.get("actor_rollout_ref.rollout.seed") == SEED
    assert run.published
    for phase in run.recipe.sft.phases if run.recipe.sft else []:
        assert phase_config(run.recipe.sft, phase, SEED)["trainer"]["seed"] == SEED


@pytest.mark.parametrize("folder", RECIPES, ids=lambda p: p.name)
def test_variants_differ_only_in_the_keys_that_their_files_name(folder):
    for scale in choices(folder, "scale"):
        flat = {
            v: dict(leaves(composed(folder.name, scale, v).config))
            for v in choices(folder, "variant")
        }
        for one, other in combinations(flat, 2):
            a, b = flat[one], flat[other]
            differing = {k for k in a | b if a.get(k) != b.get(k)}
            named = written_keys(folder / f"variant/{one}.yaml") | written_keys(
                folder / f"variant/{other}.yaml"
            )
            # the scale's tables of learning rates and steps are keyed by the variant's name
            named |= {"recipe.variant", "actor_rollout_ref.actor.optim.lr", STEPS_KEY}
            if "recipe.model" in named:  # a raw prompt is its model's own
                named |= {
                    k for k in differing if re.fullmatch(r"recipe\.data\.options\.\w*template", k)
                }
            for key in set(named):  # what a warm-up teaches: its phase has it, and maybe the data
                if warmup := re.fullmatch(r"(recipe\.warmups\.\w+)\.(text|loss)", key):
                    named |= {f"{warmup[1]}.sft.phases", "recipe.data.options.priming"}
            named |= {k for key in set(named) for k in FOLLOWERS.get(key, ())}
            if "recipe.routing_replay" in named:  # each platform hands it to its engine
                named |= {k for k in differing if k.endswith(".router_replay.mode")}
            assert differing <= named, f"{one} and {other} at {scale} differ in {differing - named}"


@pytest.mark.parametrize("folder", RECIPES, ids=lambda p: p.name)
def test_a_variant_is_ten_lines_or_fewer(folder):
    for path in (folder / "variant").glob("*.yaml"):
        assert len(path.read_text().splitlines()) <= 10, path


def test_gspo_and_grpo_are_the_papers():
    gspo, grpo = compose(), compose(variant="grpo")
    for run, low, high in ((gspo, 3e-4, 4e-4), (grpo, 0.2, 0.27)):
        actor = run.get("actor_rollout_ref.actor")
        assert (actor["clip_ratio_low"], actor["clip_ratio_high"]) == (low, high)
        assert actor["loss_agg_mode"] == "seq-mean-token-mean"
        assert actor["use_kl_loss"] is False and actor["entropy_coeff"] == 0
        assert run.get("data.train_batch_size") == 4 * actor["ppo_mini_batch_size"]


def test_algorithmic_values_of_the_recipe_carry_a_source():
    """Every line that sets a value below these keys says where the value comes from."""
    for name in ("recipe.yaml", "variant/gspo.yaml", "variant/grpo.yaml", "scale/node8.yaml"):
        section = ""
        for line in (GSPO / name).read_text().splitlines():
            if line and not line.startswith((" ", "#")):
                section = line.split(":")[0]
            sets_value = re.match(
                r"\s+(clip_ratio\w*|lr\w*|temperature|n|top_p|\w+_batch_size):", line
            )
            if section in ("algorithm", "actor_rollout_ref", "data") and sets_value:
                assert re.search(r"#\s*(paper §|code|ours|of the scale)", line), f"{name}: {line}"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["actor_rollout_ref.actor.optim.lrr=1"], ["optim.lrr", "did you mean", "optim.lr"]),
        (["actor_rollout_ref.rolout.n=4"], ["actor_rollout_ref.rolout.n"]),
        (["+foo.bar=1"], ["foo.bar"]),
        (["recipe.sed=1"], ["recipe.sed", "seed"]),
        (["+recipe.evaluation.sample=2"], ["recipe.evaluation.sample", "unknown key"]),
        (["actor_rollout_ref.actor.optim.lr=fast"], ["optim.lr='fast'", "a number"]),
        (["actor_rollout_ref.actor.optim.lr="], ["optim.lr=''", "a number"]),
        (["recipe.evaluation.batch_size=many"], ["recipe.evaluation.batch_size", "int"]),
        (["data.shuffle=perhaps"], ["data.shuffle", "true or false"]),
        (["actor_rollout_ref.actor.optim.lr=[1,"], ["optim.lr"]),
        (["~recipe.disk_gb"], ["recipe.disk_gb", "missing"]),
    ],
)
def test_a_wrong_override_is_refused_by_name(overrides, words):
    with pytest.raises(ValueError) as error:
        compose(overrides)
    text = str(error.value)
    assert "\n" not in text
    assert all(word in text for word in words), text


@pytest.mark.parametrize(
    ("overrides", "word"),
    [
        (["data.train_batch_size=15"], "ppo_mini_batch_size"),
        (["actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=24"], "does not divide"),
        (["recipe.gpus=3"], "3 ranks"),
        (
            [
                "actor_rollout_ref.rollout.n=1",
                "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=4",
            ],
            "2 responses",
        ),
        (["trainer.total_training_steps=0"], "total_training_steps"),
        (["trainer.save_freq=-1"], "save_freq"),
        (["reward.custom_reward_function.path=pkg://common.rewards.nothing"], "nothing"),
        (["recipe.evaluation.benchmarks.test.samples=0"], "samples"),
        (["data.train_batch_size=null"], "data.train_batch_size=None"),
        (["actor_rollout_ref.actor.ppo_mini_batch_size=0"], "ppo_mini_batch_size=0"),
        (["trainer.save_freq=null"], "trainer.save_freq=None"),
        (["trainer.total_training_steps=abc"], "total_training_steps=abc"),
        (["recipe.gpus=0"], "recipe.gpus=0"),
        (["reward.custom_reward_function.path=pkg://nothing.at.all"], "nothing.at.all"),
        (["reward.custom_reward_function.name=nothing"], "nothing"),
        (["recipe.model=nothing"], "recipe.model=nothing: choose one of"),
        (["recipe.platform=tpu"], "recipe.platform=tpu: choose one of cpu"),
        (["recipe.evaluation.engine=nothing"], "choose one of transformers"),
        (["recipe.data.builder=nothing"], "data/nothing.py"),
        (["~recipe.models.moe.build.chat_template"], "build.chat_template: missing"),
        (["actor_rollout_ref.actor.checkpoint.save_contents=[model]"], "hf_model"),
        (["trainer.max_actor_ckpt_to_keep=1"], "max_actor_ckpt_to_keep=1"),
        (["trainer.logger=[console,wand]"], "wandb"),
        (["trainer.logger=wandb"], "trainer.logger=wandb: write a list"),
    ],
)
def test_an_inconsistent_configuration_is_refused(overrides, word):
    with pytest.raises(ValueError, match=word) as error:
        check_config(compose(overrides))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("place", ["recipe.yaml", "scale/micro.yaml", "variant/gspo.yaml"])
def test_a_misspelt_key_in_a_file_is_refused_by_name(tmp_path, place):
    folder = tmp_path / "copy"
    shutil.copytree(GSPO, folder)
    path = folder / place
    key = "\nactor_rollout_ref:\n"
    path.write_text(path.read_text().replace(key, f"\nactor_rolout_ref: {{x: 1}}{key}"))
    with pytest.raises(ValueError, match="actor_rolout_ref.x"):
        compose_run(folder, "micro", "gspo", 1, [])


def test_a_misspelt_key_of_the_sft_trainer_is_refused_by_name():
    with pytest.raises(ValueError, match="recipe.sft: .*optim.rate"):
        compose_sft([{"optim": {"rate": 1}}], "recipe.sft")


def test_unknown_scale_variant_and_recipe_are_refused():
    with pytest.raises(ValueError, match="did you mean micro"):
        compose(scale="mcro")
    with pytest.raises(ValueError, match="did you mean gspo"):
        compose(variant="gsppo")
    with pytest.raises(ValueError, match="did you mean gspo_moe"):
        recipe_folder("gspo_mo")


@pytest.mark.parametrize(
    "words", [["seed=x"], ["seed=-1"], ["seed="], ["scale=a", "scale=b"], ["lr"]]
)
def test_malformed_words_are_refused(words):
    with pytest.raises(ValueError):
        split_words(words)


def test_words_are_lists_without_repeats():
    reserved, overrides = split_words(["variant=grpo,gspo", "seed=1,2,1", "a.b=c", "~d"])
    assert reserved == {"variant": ["grpo", "gspo"], "seed": ["1", "2"]}
    assert overrides == ["a.b=c", "~d"]


def test_overrides_get_a_folder_of_their_own_that_more_steps_keep():
    plain, short, longer, other = (
        compose(o)
        for o in (
            [],
            ["trainer.total_training_steps=3"],
            ["trainer.total_training_steps=5"],
            ["trainer.total_training_steps=3", "data.seed=5"],
        )
    )
    assert plain.label == "gspo" and plain.published
    assert short.label == longer.label != other.label
    assert short.label.startswith("gspo+") and not short.published


def test_the_configuration_names_no_place_of_this_machine():
    for folder, scale, variant in RUNS:
        for key, value in leaves(composed(folder.name, scale, variant).config):
            texts = value if isinstance(value, list) else [value]
            ours = [t for t in texts if isinstance(t, str) and str(ROOT) in t]
            assert not ours, f"{key}: {ours}"


def test_every_key_of_ours_is_read_by_something():
    """Each field of the schema is an attribute read in the code, or interpolated in a recipe."""
    sources = [*ROOT.glob("common/**/*.py"), *ROOT.glob("data/*.py")]
    read = {
        node.attr
        for path in sources
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    # `asdict` hands these over as a dictionary
    generation = (ROOT / "common/evaluation/generation.py").read_text()
    read |= set(re.findall(r'(?:spec|benchmark|work)\["(\w+)"\]', generation))
    texts = [
        p.read_text()
        for pattern in ("recipes/**/*.yaml", "common/platform/*.yaml")
        for p in ROOT.glob(pattern)
    ]
    paths = [m for t in texts for m in re.findall(r"\$\{(?:oc\.select:)?recipe\.([\w.]+)", t)]
    read |= {part for path in paths for part in path.split(".")}
    classes = [c for c in vars(schema).values() if isinstance(c, type) and is_dataclass(c)]
    assert len(classes) >= 5
    for cls in classes:
        unread = {f.name for f in fields(cls)} - read
        assert not unread, f"{cls.__name__}: read by nothing: {unread}"


def test_every_declared_addition_is_used():
    used = set()
    for folder, scale, variant in RUNS:
        run = composed(folder.name, scale, variant)
        used |= {k for k, _ in leaves(run.config)}
        sft = run.recipe.sft if variant == run.recipe.variants[0] else None
        for phase in sft.phases if sft else []:
            used |= {k for k, _ in leaves(phase_config(sft, phase, SEED))}
    text = "".join(p.read_text() for p in Path(ROOT / "common").rglob("*.py"))
    for pattern in ADDITIONS:
        prefix, last = pattern.removesuffix(".*"), pattern.rsplit(".", 1)[-1]
        in_config = any(k == prefix or k.startswith(prefix + ".") for k in used)
        assert in_config or text.count(f'"{last}"') >= 1, f"{pattern} is used by nothing"


def test_a_folder_that_ray_or_hydra_cannot_work_in_is_refused(monkeypatch, tmp_path):
    for name in ("my folder", "a,b", "it's"):
        monkeypatch.setattr(config, "ROOT", tmp_path / name)
        with pytest.raises(ValueError, match="move"):
            compose()


@pytest.mark.parametrize(
    "override",
    [
        "recipe.seed=2",
        "recipe.variant=grpo",
        "actor_rollout_ref.model.path=x",
        "data.train_files=x",
        "trainer.resume_mode=disable",
        "+recipe.seeds=[1]",
    ],
)
def test_keys_that_the_program_sets_are_not_the_users(override):
    with pytest.raises(ValueError, match="the program sets this key"):
        compose([override])
