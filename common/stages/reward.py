"""The reward rules of a run: the sources that decide them, and whether they fit the data."""

from __future__ import annotations

from collections.abc import Collection

from common.config import RunConfig
from common.rewards import workers
from common.rewards.registry import module_of
from common.rewards.rule import KEY, Rules
from common.runs import module_sources, relative
from data.parquet import PROMPT_COLUMNS, read_parquet

SHARED = ("rule", "verdict", "workers", "worker_process")
NEURAL = ("rewards/neural", "services/reward", "services/reward_server")


def benchmark_rules(run: RunConfig) -> dict[str, Rules]:
    """By benchmark: its own grader, or the reward of training."""
    training = Rules.of(run.get(KEY))
    found = run.recipe.evaluation.benchmarks.items()
    return {name: Rules(b.grader, {}) if b.grader else training for name, b in found}


def reward_sources(run: RunConfig) -> list[str]:
    """Files whose change may change a reward: those of the graders in use, and what all share.

    The registry is left out: another grader in it changes nothing.
    """
    kwargs = run.get("trainer.v1.sampler.sampler_kwargs") or {}
    of_groups = [m for m in ("group_reward", "selection") if kwargs.get(m)]
    modules = [f"common.rewards.{m.removesuffix('_reward')}" for m in of_groups]
    return sorted({*_sources([Rules.of(run.get(KEY))]), *module_sources(*modules)})


def evaluation_sources(run: RunConfig) -> list[str]:
    """The same of the benchmarks' graders."""
    return _sources(benchmark_rules(run).values())


def _sources(rules: Collection[Rules]) -> list[str]:
    graders = module_sources(*sorted({module_of(name) for r in rules for name in r.graders}))
    shared = {f"common/rewards/{name}.py" for name in SHARED}
    shared |= {f"common/{name}.py" for name in NEURAL for r in rules if r.neural}
    return sorted({*graders, *shared} - {"common/rewards/registry.py"})


def check_rewards(run: RunConfig) -> None:
    """Raise ValueError, naming file and source, where the run's data does not fit its graders."""
    training = Rules.of(run.get(KEY))
    pairs = [(str(run.get(f"data.{key}_files")), training) for key in ("train", "val")]
    benchmarks = run.recipe.evaluation.benchmarks
    pairs += [(benchmarks[name].file, rules) for name, rules in benchmark_rules(run).items()]
    for file, rules in pairs:
        path = run.run_dir / file
        rules.check(read_parquet(path, PROMPT_COLUMNS), relative(path))
    workers.close()
