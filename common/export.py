"""`python -m common export RUN`: a finished run's model as a folder of the Hugging Face layout.

The folder holds the weights that were evaluated (adapters merged), the tokenizer, and a model card
with the command, the record and its rows of the table. Before it gets its name it is loaded as
anyone loads it and held against the training's own checkpoint, on prompts of the run's own data.
"""

from __future__ import annotations

import gc
import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from safetensors import safe_open
from torch.distributed.tensor import DTensor, Shard
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from common.config import ROOT
from common.console import say
from common.evaluation.generation import prompt_ids, stop_ids
from common.plugin.sampling import SamplingParams, sample
from common.plugin.weights import WeightUpdate
from common.results import record as records
from common.results.card import model_card
from common.runs import STAGE_FILE, read_json, relative, write_json, write_text
from data.parquet import PROMPT_COLUMNS, read_parquet

PROMPTS, TOKENS = 64, 128  # prompts of the check, and at most so many greedy tokens for each
SHARDS = "model_world_size_*_rank_*.pt"
PEFT, ADAPTER = "base_model.model.", ".lora_A.default.weight"  # as PEFT names an adapter's weights
FILES = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model")  # no code: none is needed
# largest difference of a log-probability, nats, by the type of the weights: what the rounding of
# merged adapters may move; without adapters there is none
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.02}


@dataclass(frozen=True)
class Finished:
    """A run whose record is of the model in `exported`."""

    folder: Path
    record: dict[str, Any]
    exported: Path


@dataclass(frozen=True)
class Check:
    """`same`: greedy tokens that the exported model chooses too; `gap`: the largest difference of
    their log-probabilities, nats; `against`: what the folder was held against."""

    prompts: int
    tokens: int
    same: int
    gap: float
    dtype: str
    against: str

    @property
    def line(self) -> str:
        return (
            f"{self.prompts} prompts, {self.tokens} greedy tokens of {self.against}: the exported "
            f"model ({self.dtype}) chooses {self.same} of them too; log-probabilities differ by at "
            f"most {self.gap:.2g} nats"
        )


def export(run: str, target: Path | None = None) -> tuple[Path, Check]:
    """Write the folder (default: `export` in the run's) and return it with what was measured.

    Raises: ValueError for a run that is unfinished, a folder that is there, or a failed check.
    """
    finished = finished_run(run)
    folder = target or finished.folder / "export"
    if folder.exists():
        raise ValueError(f"{relative(folder)} is there already; remove it, or name another folder")
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        copy(finished.exported, partial)
        say(f"export: holding it against the checkpoint on {PROMPTS} prompts")
        disable_progress_bar()  # of loading weights
        found = check(finished, partial)
        write_text(partial / "README.md", model_card(finished.record, found.line))
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder, found


def finished_run(run: str) -> Finished:
    """The run in a folder, given as `runs/<recipe>/<scale>/<variant>/seed<k>` or without `runs/`.

    Raises: ValueError in one line when it is none, or unfinished.
    """
    folder = next((p for p in (Path(run), ROOT / "runs" / run) if p.is_dir()), None)
    if folder is None or not re.fullmatch(r"seed\d+", folder.resolve().name):
        raise ValueError(
            f"{run}: no run's folder; give that of a finished run, "
            "runs/<recipe>/<scale>/<variant>/seed<k>"
        )
    folder = folder.absolute()
    recipe, scale, variant, seed = folder.parts[-4:]
    unfinished = f"{recipe} {scale} {variant} {seed} is unfinished"
    arm, changed, _ = variant.partition("+")
    command = f"python -m common run {recipe} scale={scale} variant={arm} seed={seed[4:]}"
    command += " <its overrides>" if changed else ""
    mend = f"`{command}` finishes it"
    for name, file in (("train", STAGE_FILE), ("evaluate", STAGE_FILE), ("record", "record.json")):
        if not (folder / name / file).is_file():
            raise ValueError(f"{unfinished}: the stage `{name}` has not ended; {mend}")
    record = records.load(folder / "record" / "record.json")
    evaluated = read_json(folder / "evaluate" / STAGE_FILE)
    trained = read_json(folder / "train" / STAGE_FILE)["key"]
    if evaluated["inputs"]["model"].partition("/")[0] != trained:
        raise ValueError(f"{unfinished}: it was trained on after its evaluation; {mend}")
    if record["provenance"]["finished"] != evaluated["finished"]:
        raise ValueError(f"{unfinished}: its record is older than its evaluation; {mend}")
    # absolute on the machine and in the place where it was evaluated: what counts lies below runs/
    _, _, below = read_json(folder / "evaluate" / "spec.json")["model"].rpartition("/runs/")
    exported = folder.parents[3] / below
    if not (exported / "config.json").is_file():
        raise ValueError(
            f"{relative(exported)}: the model that was evaluated is gone; `{command} --fresh` "
            "trains it again"
        )
    return Finished(folder, record, exported)


def copy(exported: Path, folder: Path) -> None:
    """The model's files. verl writes bf16 into the configuration whatever it saved, so that
    transformers would round the weights when it loads them: the weights' own type is written."""
    for path in sorted({p for pattern in FILES for p in exported.glob(pattern)}):
        shutil.copyfile(path, folder / path.name)
    values = read_json(folder / "config.json")
    for code in ("auto_map", "torch_dtype"):  # code to trust, and the old name of `dtype`
        values.pop(code, None)
    write_json(folder / "config.json", values | {"dtype": weights_dtype(exported)})


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Name the file of weights that cannot be read, for whatever reason its library has."""
    try:
        yield
    except Exception as error:  # torch alone has four kinds for a file that was cut
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(
            f"{relative(path)}: cannot be read ({reason}); `run` with --fresh trains it again"
        ) from None


def weights_dtype(folder: Path) -> str:
    """`float32`: the type of most of the weights' numbers."""
    sizes: dict[torch.dtype, int] = {}
    for path in folder.glob("*.safetensors"):
        with reading(path), safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                weight = file.get_tensor(name)
                sizes[weight.dtype] = sizes.get(weight.dtype, 0) + weight.numel()
    if not sizes:
        raise ValueError(f"{relative(folder)}: no weights (*.safetensors); they are gone")
    return str(max(sizes, key=lambda dtype: sizes[dtype])).removeprefix("torch.")


def check(finished: Finished, folder: Path) -> Check:
    """Hold the exported folder against the checkpoint that training would go on from.

    The checkpoint's model continues each prompt greedily. The exported model, loaded as anyone
    loads it, must choose each of those tokens too, given the ones before (so that it continues
    greedily alike), unless two tokens are equally likely within the tolerance.

    Raises: ValueError saying what differs.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    prompts = run_prompts(finished, tokenizer)
    reference, against = checkpoint_model(finished)
    limit = min(TOKENS, int(finished.record["config"]["data"]["max_response_length"]))
    params = SamplingParams(limit, temperature=0, stop_token_ids=tuple(stop_ids(folder, tokenizer)))
    responses = [c.token_ids for c in sample(reference, prompts, params, batch_size=16)]
    pairs = list(zip(prompts, responses, strict=True))
    theirs = [chosen(reference, *pair)[0] for pair in pairs]
    del reference  # the two models need not fit into memory together
    gc.collect()
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        folder, trust_remote_code=False, output_loading_info=True
    )
    model, report = loaded
    wrong = [*report["missing_keys"], *report["unexpected_keys"], *report["mismatched_keys"]]
    if wrong:
        raise ValueError(f"export: transformers finds {len(wrong)} weights wrong, as {wrong[0]}")
    dtype = model.dtype
    model.float().eval()
    gap, same, close = 0.0, 0, 0
    for pair, before in zip(pairs, theirs, strict=True):
        ours, best = chosen(model, *pair)
        gap = max(gap, float((ours - before).abs().max()))
        same += int((best <= ours).sum())
        close += int((best - ours <= TOLERANCE[dtype]).sum())
    tokens = sum(map(len, responses))
    name = str(dtype).removeprefix("torch.")
    found = Check(len(prompts), tokens, same, gap, name, against)
    if not (gap <= TOLERANCE[dtype] and close == tokens):  # NaN is no agreement either
        raise ValueError(f"export: the exported model is another one: {found.line}")
    return found


def run_prompts(finished: Finished, tokenizer: Any) -> list[list[int]]:
    """The first 64 prompts of the run's benchmarks, as its evaluation renders them."""
    prompts: list[list[int]] = []
    spec = read_json(finished.folder / "evaluate" / "spec.json")
    for benchmark in spec["benchmarks"].values():
        rows = read_parquet(finished.folder / "data" / Path(benchmark["file"]).name, PROMPT_COLUMNS)
        rows = rows[: PROMPTS - len(prompts)]
        prompts += prompt_ids(tokenizer, rows, benchmark.get("chat_template"))
        if len(prompts) == PROMPTS:
            break
    return prompts


@torch.inference_mode()
def chosen(model: Any, prompt: list[int], response: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities (T,) of the response's tokens, and (T,) of the likeliest one at each."""
    ids = torch.tensor([prompt + response], device=model.device)
    logits = model(ids).logits[0, len(prompt) - 1 : -1].float()
    log_probs = logits.log_softmax(-1)
    own = log_probs.gather(-1, ids[0, len(prompt) :, None])[:, 0]
    return own.cpu(), log_probs.max(-1).values.cpu()


def checkpoint_model(finished: Finished) -> tuple[Any, str]:
    """The model from verl's own shards, where the run keeps them, and what it is called.

    Its weights went another way than the exported ones: nothing was written in the hub's layout,
    and adapters are applied beside the weights that they adapt. A warm-up alone leaves no such
    shards: there is only the model that was evaluated, and as it was loaded then.
    """
    shards = sorted(finished.exported.parent.glob(SHARDS))
    if not shards:
        evaluated = AutoModelForCausalLM.from_pretrained(
            finished.exported, dtype=torch.float32, trust_remote_code=False
        )
        return evaluated.eval(), "the model that was evaluated"
    config = AutoConfig.from_pretrained(finished.exported, trust_remote_code=False)
    model: Any = AutoModelForCausalLM.from_config(
        config, dtype=torch.float32, trust_remote_code=False
    )
    weights = gathered(shards)
    adapted = [name.removesuffix(ADAPTER) for name in weights if name.endswith(ADAPTER)]
    if adapted:
        values = read_json(shards[0].with_name("lora_train_meta.json"))
        modules = [name.removeprefix(PEFT) for name in adapted]
        lora = LoraConfig(r=values["r"], lora_alpha=values["lora_alpha"], target_modules=modules)
        model = get_peft_model(model, lora)
    update = WeightUpdate(model)
    update.write(weights.items())
    update.finish()
    name = finished.exported.relative_to(finished.folder).parent
    return model.eval(), f"the checkpoint `{name}`"


def gathered(shards: list[Path]) -> dict[str, torch.Tensor]:
    """Whole weights by name from the shards of all ranks, each a state dictionary of DTensors.

    Raises: ValueError naming a file that cannot be read, or the rank that has none.
    """
    # that there is no process group is no matter here
    logging.getLogger("torch.distributed.device_mesh").setLevel(logging.ERROR)
    parts = {int(p.stem.rpartition("_")[2]): p for p in shards}
    world = int(shards[0].stem.split("_")[3])  # model_world_size_<world>_rank_<rank>
    ranks: list[dict[str, Any]] = []
    for rank in range(world):
        if rank not in parts:
            raise ValueError(f"{relative(shards[0].parent)}: of {world} ranks, {rank} has no file")
        with reading(parts[rank]):
            ranks.append(torch.load(parts[rank], weights_only=True, map_location="cpu"))
    whole = {}
    for name, first in ranks[0].items():
        if not isinstance(first, DTensor):
            whole[name] = first
            continue
        # the last dimension of the mesh shards; one before it, where there is one, repeats
        group = first.device_mesh.mesh.reshape(-1, first.device_mesh.mesh.shape[-1])[0].tolist()
        locals_ = [ranks[rank][name].to_local() for rank in group]
        placed = first.placements[-1]
        whole[name] = torch.cat(locals_, placed.dim) if isinstance(placed, Shard) else locals_[0]
    return whole
