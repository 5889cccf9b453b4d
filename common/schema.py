"""The keys of a recipe that verl does not know: everything under `recipe:`.

Every field is read somewhere in the code (a test looks); any other key is refused by name.
"""

from __future__ import annotations

import difflib
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Data:
    """`builder` is a module of `data/` with a function `build(folder, seed, **options)`."""

    builder: str
    options: dict[str, Any]


@dataclass(frozen=True)
class Model:
    """Either `hub` (a model of the Hugging Face hub, with `revision`) or `build` (made here).

    `hub`: `chat_template` (a file of the recipe) and `eos_token` replace the model's own, because a
    base model stops at another token than the one that ends a turn of a chat; `remove`: keys that
    are taken out of its `config.json`.
    `build`: `architecture` (a transformers config class name without `Config`), `config` (its
    arguments), `characters` (the tokenizer's alphabet) and `chat_template`; where more than single
    characters are tokens, `words` (a list of texts) and `integers` (all from 0 to this one).
    """

    hub: str | None = None
    revision: str | None = None
    chat_template: str | None = None
    eos_token: str | None = None
    remove: list[str] | None = None
    build: dict[str, Any] | None = None


def vocabulary(build: dict[str, Any]) -> list[str]:
    """The tokens of a model that is built here, but for the special ones."""
    numbers = map(str, range(build["integers"] + 1)) if "integers" in build else ()
    return [*build["characters"], *numbers, *build.get("words", [])]


@dataclass(frozen=True)
class SFT:
    """`trainer`: deltas over verl's `sft_trainer_engine`; `phases`: further deltas, run in order.

    Each phase has a `name`; it starts from the model of the phase before. `engine`: which of verl's
    engines trains, `fsdp` or `veomni`.
    """

    trainer: dict[str, Any]
    phases: list[dict[str, Any]]
    engine: str = "fsdp"


@dataclass(frozen=True)
class Benchmark:
    """A parquet file below the run's folder, and how many responses to sample per problem.

    `grader`: who counts them, where it is not the reward of training. `chat_template`: a file of
    the recipe that writes the prompts in the place of the model's own template. `temperature`:
    where it is not the evaluation's. `details`: the grader's metrics that the record keeps of each
    problem, beside the verdicts.
    """

    file: str
    samples: int
    grader: str | None = None
    chat_template: str | None = None
    temperature: float | None = None
    details: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Evaluation:
    """Offline evaluation of a checkpoint: `engine` is `transformers` or `vllm`.

    `max_response_length`: tokens, where it is not training's `data.max_response_length`.
    """

    engine: str
    benchmarks: dict[str, Benchmark]
    temperature: float
    top_p: float
    top_k: int
    batch_size: int
    max_response_length: int | None = None


@dataclass(frozen=True)
class Rejection:
    """`samples` responses to each training prompt, of which the shortest correct one is taught by
    the one phase of `sft`, from `chosen.parquet`."""

    samples: int
    sft: SFT


@dataclass(frozen=True)
class Sampled:
    """Correct responses of the arm `arm`, after its RL on the same seed: all of the right ones
    among `samples` to each prompt of `file` (below the run's folder)."""

    arm: str
    file: str
    samples: int
    temperature: float
    top_p: float
    top_k: int


@dataclass(frozen=True)
class Warmup:
    """Fine-tuning of the base before RL, in the one phase of `sft`: on a file of the data, or, with
    `sampled`, on `chosen.parquet`, which the stage makes.

    `lost`: it is trained, and RL starts from the base all the same. `text`, `loss`: which file, and
    what of it is learnt, for `sft` to refer to and arms to choose. `course`: benchmarks on which a
    run of `method: sft` evaluates what the phase's `trainer.save_freq` leaves on the way.
    """

    sft: SFT
    sampled: Sampled | None = None
    lost: bool = False
    text: str | None = None
    loss: str | None = None
    course: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class RewardModel:
    """Either `hub` (a sequence-classification model of the hub, with `revision`), or the base
    trained on the pairs of `train` by the Bradley-Terry loss, one head for each of `signals`.

    `train`, `validation`: files of preferences below the run's folder. `batch_size`: pairs. `lr`:
    reached after `lr_warmup_steps`, then falling linearly to 0. `max_length`: tokens of a chat.
    """

    hub: str | None = None
    revision: str | None = None
    train: str | None = None
    validation: str | None = None
    signals: list[str] = field(default_factory=list)
    steps: int = 0
    batch_size: int = 0
    lr: float = 0.0
    lr_warmup_steps: int = 0
    weight_decay: float = 0.0
    clip_grad: float = 1.0
    max_length: int = 0


@dataclass(frozen=True)
class ServedModel:
    """A service that the program starts beside the training. `model`: its folder, below the run's;
    `options`: of `python -m common serve`, by name."""

    model: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """Our part of a recipe's configuration.

    `learning_rate`: by variant, with `default` for the rest; a scale's choice, since it depends on
    the model. `steps`: likewise, where arms differ in length. `fewer_prompts`: of a step, for arms
    that take fewer than `data.train_batch_size` says. `gpus`: ranks of the trainer on one
    node. `disk_gb`: free space that a run needs. `gpu_memory_gib`: of one GPU, for `check`.
    `method`: `rl`, or what takes its place: `rejection`, rejection-sampled fine-tuning as
    `rejection` says, or `sft`, the warm-up alone. `warmup`: which of `warmups` comes between the
    base and RL.
    `routing_replay`: `disabled`, `R2` or `R3`; a platform hands it to its training engine.
    `reward_model`: made before RL, in `reward_model/model` of the run's folder.
    `services`: `reward` and `reference`, those of both that the program starts by itself, with
    their addresses in `services/<name>.json`.
    """

    seed: int
    variant: str
    learning_rate: dict[str, float]
    variants: list[str]
    seeds: list[int]
    platform: str
    routing_replay: str
    gpus: int
    disk_gb: float
    data: Data
    models: dict[str, Model]
    model: str
    sft: SFT | None
    evaluation: Evaluation
    gpu_memory_gib: float | None = None
    steps: dict[str, int] | None = None
    fewer_prompts: int | None = None
    method: str = "rl"
    rejection: Rejection | None = None
    warmup: str | None = None
    warmups: dict[str, Warmup] | None = None
    reward_model: RewardModel | None = None
    services: dict[str, ServedModel] | None = None


def build(cls: type, values: Any, where: str) -> Any:
    """An instance of the dataclass `cls` from plain values.

    Raises ValueError naming the key for an unknown or missing key or a wrong type.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{where}: a mapping is wanted, not {values!r}")
    hints, known = get_type_hints(cls), {f.name: f for f in fields(cls)}
    for key in values:
        if key not in known:
            raise ValueError(f"{where}.{key}: unknown key{suggest(str(key), known)}")
    arguments = {}
    for name, spec in known.items():
        if name in values:
            arguments[name] = _convert(hints[name], values[name], f"{where}.{name}")
        elif spec.default is MISSING and spec.default_factory is MISSING:
            raise ValueError(f"{where}.{name}: missing; every recipe must set it")
    return cls(**arguments)


def _convert(hint: Any, value: Any, where: str) -> Any:
    options = [a for a in get_args(hint) if a is not type(None)]
    if get_origin(hint) is not dict and get_origin(hint) is not list and options:
        if value is None:
            return None
        hint = options[0]
    if is_dataclass(hint):
        return build(hint, value, where)  # type: ignore[arg-type]
    origin, arguments = get_origin(hint) or hint, get_args(hint)
    if origin is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, origin) or (isinstance(value, bool) and origin is not bool):
        raise ValueError(f"{where}: {value!r} is not of type {origin.__name__}")
    if origin is dict:
        return {k: _convert_item(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    if origin is list:
        return [_convert_item(arguments[0], v, f"{where}[{i}]") for i, v in enumerate(value)]
    return value


def _convert_item(hint: Any, value: Any, where: str) -> Any:
    return value if hint is Any else _convert(hint, value, where)


def suggest(word: str, known: Any) -> str:
    """`; did you mean x?` for the closest of `known`, or the empty string."""
    close = difflib.get_close_matches(word, [str(k) for k in known], n=1)
    return f"; did you mean {close[0]}?" if close else ""
