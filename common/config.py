"""Compose recipe + scale + variant + overrides into one configuration with verl's keys at the root.

`recipe.yaml` is a Hydra root whose defaults list starts with verl's `ppo_trainer`; `scale/` and
`variant/` are Hydra config groups next to it. Ours lives under `recipe:`. Composition needs no
import of verl and takes well under a second.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from common.schema import Recipe, build, suggest

ROOT = Path(__file__).resolve().parent.parent
RESERVED = ("scale", "variant", "seed")
# Raising this in a run resumes it, so it belongs to no run's identity.
STEPS_KEY = "trainer.total_training_steps"
# Keys that the program sets for verl, and what to write instead.
NOT_YOURS = {
    "recipe.seed": "write seed=",
    "recipe.seeds": "write seed=",
    "recipe.variant": "write variant=",
    "recipe.variants": "write variant=",
    "actor_rollout_ref.model.path": "choose a model under recipe.models",
    "data.train_files": "change recipe.data",
    "data.val_files": "change recipe.data",
    "trainer.default_local_dir": "the run's folder is below runs/",
    "trainer.experiment_name": "it is the run's name",
    "trainer.resume_mode": "a run resumes by itself; --fresh starts anew",
    "trainer.resume_from_path": "a run resumes by itself; --fresh starts anew",
}
# Keys that verl reads although its bare configuration does not list them.
ADDITIONS = (
    "algorithm.reference_service.*",
    "algorithm.sign_weights.*",
    "algorithm.token_selection.*",
    "actor_rollout_ref.model.override_config.*",
    "critic.model.override_config.*",
    "actor_rollout_ref.actor.fsdp_config.mixed_precision.*",
    "actor_rollout_ref.actor.fsdp_config.router_replay.*",
    "actor_rollout_ref.rollout.agent.agent_loop_manager_class",
    "actor_rollout_ref.rollout.engine_kwargs.*",
    "ray_kwargs.ray_init.num_gpus",
    "reward.custom_reward_function.reward_kwargs.*",
    "ray_kwargs.ray_init.include_dashboard",
    "ray_kwargs.ray_init._temp_dir",
    "trainer.v1.sampler.sampler_kwargs.*",
    "model.override_config.*",  # of the SFT trainer
    "engine.mixed_precision.*",
)


@dataclass(frozen=True)
class RunConfig:
    """One run: a recipe folder at one scale, one variant and one seed."""

    folder: Path
    scale: str
    variant: str
    seed: int
    overrides: tuple[str, ...]
    config: dict[str, Any]
    recipe: Recipe

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def published(self) -> bool:
        """Only runs without overrides may write a record under results/."""
        return not self.overrides

    @property
    def label(self) -> str:
        """The variant, with a hash of the overrides when there are any (steps may be raised)."""
        if self.published:
            return self.variant
        keys = sorted(STEPS_KEY if _key(o) == STEPS_KEY else o for o in self.overrides)
        return f"{self.variant}+{hashlib.sha256('|'.join(keys).encode()).hexdigest()[:8]}"

    @property
    def ranks(self) -> int:
        """Trainer processes on all nodes."""
        return int(self.get("trainer.nnodes")) * self.recipe.gpus

    @property
    def asynchronous(self) -> bool:
        """Whether GPUs of its own sample while the trainer's ranks train."""
        return str(self.get("trainer.v1.trainer_mode")).startswith("separate_async")

    @property
    def samplers(self) -> int:
        """GPUs that only sample, on all nodes; 0 where the trainer's ranks take turns."""
        rollout = self.get("actor_rollout_ref.rollout")
        return int(rollout["nnodes"] * rollout["n_gpus_per_node"]) if self.asynchronous else 0

    @property
    def run_dir(self) -> Path:
        return ROOT / "runs" / self.name / self.scale / self.label / f"seed{self.seed}"

    def get(self, key: str) -> Any:
        """The value at a dotted key; the key must exist."""
        node: Any = self.config
        for part in key.split("."):
            node = node[part]
        return node


def verl_config_dir() -> Path:
    """verl's own configuration folder, found without importing verl (an import takes seconds)."""
    spec = importlib.util.find_spec("verl")
    if spec is None or not spec.submodule_search_locations:
        raise ValueError("verl is not installed: run `bash common/setup.sh` first")
    return Path(spec.submodule_search_locations[0]) / "trainer" / "config"


def recipe_folder(name: str) -> Path:
    """The recipe folder for a name under recipes/ or a path; ValueError when there is none."""
    recipes = ROOT / "recipes"
    folder = Path(name) if (Path(name) / "recipe.yaml").is_file() else recipes / name
    if not (folder / "recipe.yaml").is_file():
        known = [path.name for path in recipe_folders()]
        raise ValueError(
            f"no recipe {name!r} under recipes/ (there: {', '.join(known)}){suggest(name, known)}"
        )
    return folder.resolve()


def recipe_folders() -> list[Path]:
    """The folders of all recipes."""
    return sorted(path.parent for path in (ROOT / "recipes").glob("*/recipe.yaml"))


def choices(folder: Path, group: str) -> list[str]:
    """The names of the group's files: the scales or the variants of a recipe."""
    return sorted(p.stem for p in (folder / group).glob("*.yaml"))


def split_words(words: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Reserved words (each a comma-separated list) and the remaining overrides."""
    reserved: dict[str, list[str]] = {}
    overrides = []
    for word in words:
        key, separator, value = word.partition("=")
        if key in RESERVED:
            values = [v for v in value.split(",") if v]
            if not values or key in reserved:
                raise ValueError(f"{word!r}: give {key} once, as {key}=value or {key}=a,b")
            reserved[key] = list(dict.fromkeys(values))
        elif not separator and not word.startswith("~"):
            raise ValueError(f"{word!r} is no override: write key=value, +key=value or ~key")
        else:
            overrides.append(word)
    for seed in reserved.get("seed", []):
        if not seed.isdecimal():
            raise ValueError(f"seed={seed}: a seed is a whole number from 0 on")
    return reserved, overrides


def compose_run(
    folder: Path, scale: str, variant: str, seed: int, overrides: Sequence[str] = ()
) -> RunConfig:
    """The configuration of one run.

    Raises ValueError, in one line, for an unknown scale, variant or key, or a wrong value.
    """
    if re.search(r"[^\w@%+:./~=-]", str(ROOT)):
        # Ray starts its workers through an unquoted shell line
        raise ValueError(f"Ray cannot work below a folder with spaces or commas; move {ROOT}")
    for override in overrides:
        if _key(override) in NOT_YOURS:
            raise ValueError(f"{override}: the program sets this key; {NOT_YOURS[_key(override)]}")
    for group, value in (("scale", scale), ("variant", variant)):
        known = choices(folder, group)
        if value not in known:
            raise ValueError(
                f"{group}={value}: {folder.name} has no such {group} "
                f"(there: {', '.join(known)}){suggest(value, known)}"
            )
    words = [f"scale={scale}", f"variant={variant}", f"recipe.variant={variant}", *overrides]
    words.append(f"recipe.seed={seed}")
    config = _compose(folder, "recipe", words, [verl_config_dir(), ROOT / "common"])
    recipe = build(Recipe, config["recipe"], "recipe")
    return RunConfig(folder, scale, variant, recipe.seed, tuple(overrides), config, recipe)


def compose_sft(deltas: list[dict[str, Any]], where: str, engine: str = "fsdp") -> dict[str, Any]:
    """verl's SFT configuration with deltas merged over it, in order; unknown keys are refused."""
    bare = bare_config("sft_trainer_engine", f"engine={engine}", f"optim={engine}")
    merged = OmegaConf.merge(bare, *deltas)
    written = OmegaConf.to_container(merged, resolve=False)
    _refuse_unknown_keys(written, bare, where)  # type: ignore[arg-type]
    return OmegaConf.to_container(merged, resolve=True)  # type: ignore[return-value]


@lru_cache
def bare_config(name: str, *overrides: str) -> dict[str, Any]:
    """One of verl's configurations as it is, interpolations unresolved. Do not change it."""
    with initialize_config_dir(str(verl_config_dir()), version_base=None):
        composed = compose(name, overrides=list(overrides))
    return OmegaConf.to_container(composed, resolve=False)  # type: ignore[return-value]


def _compose(folder: Path, name: str, words: list[str], path: list[Path]) -> dict[str, Any]:
    places = ",".join(f"file://{p}" for p in path)
    try:
        with initialize_config_dir(str(folder), version_base=None):
            composed = compose(name, overrides=[f"hydra.searchpath=[{places}]", *words])
        bare = bare_config("ppo_trainer", f"model_engine={composed.model_engine}")
        written = OmegaConf.to_container(composed, resolve=False)
        _refuse_unknown_keys(written, bare, folder.name)  # type: ignore[arg-type]
        config = OmegaConf.to_container(composed, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(_one_line(error, words)) from None
    _refuse_wrong_types(config, bare)  # type: ignore[arg-type]
    return config  # type: ignore[return-value]


def _one_line(error: Exception, words: list[str]) -> str:
    """Hydra's message on one line, with the nearest known key when a key is unknown."""
    causes = [str(error), str(error.__cause__ or ""), str(error.__context__ or "")]
    text = " ".join(" ".join(causes).split())
    missing = re.search(r"Could not override '([^']+)'", text)
    if missing:
        key = missing.group(1)
        known = [k for k, _ in leaves(bare_config("ppo_trainer"))]
        names = {k.rsplit(".", 1)[-1] for k in known}
        close = suggest(key, known) or suggest(key.rsplit(".", 1)[-1], names)
        return f"{key}: neither verl nor the recipe knows this key{close}"
    return f"{text[:300]} (in: {' '.join(words)})"


def leaves(node: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Dotted keys and values; an empty mapping counts as a value."""
    if isinstance(node, dict) and node:
        return [pair for k, v in node.items() for pair in leaves(v, f"{prefix}{k}.")]
    return [(prefix[:-1], node)]


def _refuse_unknown_keys(config: dict[str, Any], bare: dict[str, Any], where: str) -> None:
    known = {k for k, _ in leaves(bare)}
    for key, _ in leaves({k: v for k, v in config.items() if k != "recipe"}):
        if key not in known and not any(fnmatch(key, pattern) for pattern in ADDITIONS):
            raise ValueError(
                f"{where}: neither verl nor the recipe knows the key {key}{suggest(key, known)}"
            )


def _refuse_wrong_types(config: dict[str, Any], bare: dict[str, Any]) -> None:
    """Where verl's default is a number or a flag, ours must be one too (or null)."""
    values = dict(leaves(config))
    for key, default in leaves(bare):
        value = values.get(key)
        if isinstance(default, int | float) and isinstance(value, str | dict | list):
            wanted = "true or false" if isinstance(default, bool) else "a number"
            raise ValueError(f"{key}={value!r}: {wanted} is wanted (verl's default is {default})")


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]
