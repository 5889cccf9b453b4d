"""The services of a training: those that the recipe has started, and those that it only names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from common.config import RunConfig
from common.rewards.rule import KEY as REWARD_KEY
from common.runs import read_json
from common.schema import build
from common.services import launch
from common.services.client import Connection, ServiceError

FOLDER = "services"  # below the run's
REFERENCE_KEY = "algorithm.reference_service"
NEURAL_KEY = f"{REWARD_KEY}.reward_kwargs.neural"
READY_S = 60.0  # for a service that the recipe only names


def named(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Where verl's configuration names services, by kind: the mappings themselves."""
    kwargs = config["reward"]["custom_reward_function"].get("reward_kwargs") or {}
    found = {"reference": config["algorithm"].get("reference_service")}
    found["reward"] = (kwargs.get("neural") or {}).get("service")
    return {kind: value for kind, value in found.items() if value}


def complete_paths(config: dict[str, Any], run_dir: Path) -> None:
    """Make what lies below the run's folder absolute: addresses that are files, and the tokenizer
    of the reward model."""
    for connection in named(config).values():
        if "://" not in connection["address"]:
            connection["address"] = str((run_dir / connection["address"]).resolve())
    kwargs = config["reward"]["custom_reward_function"].get("reward_kwargs") or {}
    if (kwargs.get("neural") or {}).get("tokenizer"):
        kwargs["neural"]["tokenizer"] = str((run_dir / kwargs["neural"]["tokenizer"]).resolve())


def check_services(run: RunConfig) -> None:
    """Raise ValueError, naming the key, for services that do not fit what the run asks for."""
    places = {"reference": REFERENCE_KEY, "reward": f"{NEURAL_KEY}.service"}
    connections = named(run.config)
    started = run.recipe.services or {}
    check_reward_model(run)
    for kind in started:
        if kind not in launch.CLIENTS:
            known = ", ".join(launch.CLIENTS)
            raise ValueError(f"recipe.services.{kind}: there is no such service (there: {known})")
    for kind, values in connections.items():
        address = build(Connection, values, places[kind]).address
        own = f"{FOLDER}/{kind}.json"
        if kind in started and address != own:
            raise ValueError(
                f"{places[kind]}.address={address}: recipe.services starts one; write {own}"
            )
        if kind not in started and "://" not in address:
            raise ValueError(
                f"{places[kind]}.address={address}: a URL is wanted, or recipe.services.{kind}, "
                f"which is started then and has the address {own}"
            )
    asks = str(run.get("trainer.v1.trainer_mode")).endswith("_reference_service")
    if asks != ("reference" in connections):
        raise ValueError(
            f"trainer.v1.trainer_mode={run.get('trainer.v1.trainer_mode')}: a trainer that ends in "
            f"_reference_service and {REFERENCE_KEY} belong together; set both or neither"
        )
    if asks and not (
        run.get("algorithm.use_kl_in_reward") or run.get("actor_rollout_ref.actor.use_kl_loss")
    ):
        raise ValueError(
            f"{REFERENCE_KEY}: nothing asks for a reference policy; set algorithm.use_kl_in_reward "
            "or actor_rollout_ref.actor.use_kl_loss, or leave it out"
        )


def check_reward_model(run: RunConfig) -> None:
    """Raise ValueError, naming the key, for a reward model that cannot be had or trained."""
    spec, where = run.recipe.reward_model, "recipe.reward_model"
    if spec is None:
        return
    if (spec.hub is None) == (spec.train is None):
        raise ValueError(f"{where}: set exactly one of hub and train")
    if spec.hub is not None:
        return
    for key in ("validation", "signals", "steps", "batch_size", "lr", "max_length", "clip_grad"):
        if not getattr(spec, key):
            raise ValueError(f"{where}.{key}: missing, and training needs it")


@contextmanager
def services(run: RunConfig, run_dir: Path, config: dict[str, Any]) -> Iterator[Callable[[], None]]:
    """Start what `recipe.services` says and this run asks for, and see that all services answer,
    before training; what is yielded is called while it lasts, and starts again what has ended.

    `config`: verl's, paths complete. Raises: StageError for a service that does not start,
    ValueError for one that the recipe names and that does not answer.
    """
    connections = named(config)
    with ExitStack() as stack:
        children = [
            stack.enter_context(
                launch.Child(kind, run_dir / served.model, run_dir / FOLDER, served.options)
            )
            for kind, served in (run.recipe.services or {}).items()
            if kind in connections
        ]
        for kind in set(connections) - {child.kind for child in children}:
            values = build(Connection, connections[kind], kind).arguments()
            with launch.CLIENTS[kind](**values | {"wait_s": 0.0}) as client:
                try:
                    client.check(READY_S)
                except ServiceError as error:
                    raise ValueError(str(error)) from None

        def watch() -> None:
            for child in children:
                child.poll()

        yield watch


def service_inputs(run: RunConfig, run_dir: Path) -> dict[str, str]:
    """The keys of the models that are served, which decide the numbers of a training."""
    started = run.recipe.services or {}
    return {
        kind: read_json((run_dir / started[kind].model).parent / "stage.json")["key"]
        for kind in named(run.config)
        if kind in started
    }
