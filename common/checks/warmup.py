"""What a warm-up before RL needs: its name, one phase, room, and an arm to learn from."""

from __future__ import annotations

from typing import Any

from common.config import RunConfig
from common.schema import SFT, Warmup, suggest
from common.stages.sft import phase_config
from common.stages.warmup import CHOSEN, teacher


def check_warmup(run: RunConfig) -> None:
    """Raise ValueError for a warm-up that cannot be made, of those that the recipe has."""
    recipe, known = run.recipe, run.recipe.warmups or {}
    if recipe.method == "sft" and recipe.warmup is None:
        raise ValueError("recipe.method=sft is the warm-up alone: set recipe.warmup")
    if recipe.warmup is not None and recipe.warmup not in known:
        raise ValueError(
            f"recipe.warmup={recipe.warmup}: the scale's recipe.warmups has "
            f"{', '.join(known) or 'none'}; choose one of them"
        )
    for name, spec in (
        ("sft", recipe.sft),
        ("rejection", recipe.rejection and recipe.rejection.sft),
    ):
        for phase in spec.phases if spec else []:
            check_every(phase, False, f"recipe.{name}")
    for name, warmup in known.items():
        check_phase(run, warmup.sft, f"recipe.warmups.{name}.sft")
        check_course(run, warmup, f"recipe.warmups.{name}")
    if recipe.warmup is not None:
        check_source(run, known[recipe.warmup], f"recipe.warmups.{recipe.warmup}")
        path = run.get("actor_rollout_ref.model.path")
        if path != "start/model":
            raise ValueError(
                f"actor_rollout_ref.model.path={path}: RL after a warm-up starts from start/model; "
                "set that in the recipe"
            )


def check_phase(run: RunConfig, spec: SFT, where: str) -> None:
    """One phase, and room for the longest chat where verl's SFT trainer stops at a longer one."""
    if len(spec.phases) != 1:
        raise ValueError(f"{where}.phases: one phase is wanted")
    longest = run.get("data.max_prompt_length") + run.get("data.max_response_length") + 1
    data = phase_config(spec, spec.phases[0], run.seed)["data"]
    if data["truncation"] == "error" and data["max_length"] < longest:
        raise ValueError(
            f"{where}.trainer.data.max_length={data['max_length']}: a prompt, a response and its "
            f"stop token may have {longest} tokens; raise it"
        )


def check_course(run: RunConfig, warmup: Warmup, where: str) -> None:
    """Benchmarks of the recipe, and models on the way to evaluate on them."""
    known = run.recipe.evaluation.benchmarks
    unknown = [name for name in warmup.course if name not in known]
    if unknown:
        raise ValueError(
            f"{where}.course: {unknown[0]!r} is no benchmark{suggest(unknown[0], known)}; the "
            f"scale's are {', '.join(known)}"
        )
    (phase,) = warmup.sft.phases
    check_every(phase, bool(warmup.course), where)


def check_every(phase: dict[str, Any], course: bool, where: str) -> None:
    """Models on the way are saved where there is a course to evaluate them in, and only there."""
    steps = phase["trainer"]["total_training_steps"]
    every = phase["trainer"].get("save_freq")
    if course and not (every and 1 <= every < steps):
        raise ValueError(
            f"{where}.course: set the phase's trainer.save_freq to less than its {steps} steps, "
            "or there is nothing to evaluate on the way"
        )
    if not course and every is not None:
        raise ValueError(
            f"{where}: phase {phase['name']} has trainer.save_freq={every}; models on the way are "
            "kept for a warm-up's `course` alone, remove it"
        )


def check_source(run: RunConfig, warmup: Warmup, where: str) -> None:
    """Sampled responses are what is taught, and come from an arm that itself needs none."""
    (phase,) = warmup.sft.phases
    file = str(phase["data"]["train_files"])
    sampled = warmup.sampled
    if (file.rpartition("/")[2] == CHOSEN) != (sampled is not None):
        raise ValueError(
            f"{where}: teach {CHOSEN} where there is `sampled`, and a file of the data elsewhere "
            f"(train_files={file})"
        )
    if sampled is None:
        return
    if sampled.samples < 1:
        raise ValueError(f"{where}.sampled.samples: at least 1 is wanted")
    arm = teacher(run, sampled.arm)
    if arm.recipe.method != "rl" or arm.recipe.warmup is not None:
        raise ValueError(
            f"{where}.sampled.arm={sampled.arm}: an arm of RL without warm-up is wanted"
        )
