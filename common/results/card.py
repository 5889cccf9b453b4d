"""The model card of an exported run: command, record, its rows of the table, licence, citation."""

from __future__ import annotations

import shlex
from typing import Any

import yaml

from common.config import ROOT, recipe_folder
from common.results import seal
from common.results.citation import own_bibtex, paper_bibtex, software
from common.results.claims import PAPER_SCALE
from common.results.paper import load_paper
from common.results.record import load, record_id, record_path
from common.results.rows import build_rows
from common.results.tables import estimate_text, markdown, metric_text, paper_text

USE = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("FOLDER")
tokenizer = AutoTokenizer.from_pretrained("FOLDER")
```
"""


def model_card(record: dict[str, Any], checked: str) -> str:
    """`README.md` of the exported folder; `checked`: what holding it against the run measured."""
    recipe, config = record["recipe"], record["config"]
    model = config["recipe"]["models"][config["recipe"]["model"]]
    git = record["provenance"]["git"]
    commit = (git["commit"] or "outside git") + (" + local changes" if git["dirty"] else "")
    folder = recipe_folder(recipe)
    bibtex = own_bibtex(recipe, [record["provenance"]["finished"]], [commit[:10]])
    data = [
        f"- data `{name}`: {file['rows']} rows, sha256 `{file['sha256']}`\n"
        for name, file in record["data"].items()
    ]
    return f"""\
---
{_metadata(recipe, model)}---
# {recipe}: {record["variant"]}, seed {record["seed"]}, scale {record["scale"]}

{_start(model)} Trained by the recipe `{recipe}` of *{software()["title"]}*.
{_caution(record)}
{USE}
## Where it comes from

- command: `{_command(record)}`
- record: {_record(record)}
- code: commit {commit}; configuration sha256 `{record["config_sha256"]}`
- packages: {", ".join(f"{k} {v}" for k, v in record["provenance"]["packages"].items())}
{"".join(data)}
## Results

{_table(record)}
Intervals are over problems or steps of this one seed; they say nothing of another seed.

## Checked

{checked}.

## Licence

{_licence(model)}

## Cite

```bibtex
{paper_bibtex(folder)}
{bibtex}```
"""


def _metadata(recipe: str, model: dict[str, Any]) -> str:
    values: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["reinforcement-learning", "verl", recipe],
    }
    values |= {"base_model": model["hub"]} if model.get("hub") else {"license": "apache-2.0"}
    return yaml.safe_dump(values, sort_keys=True)


def _start(model: dict[str, Any]) -> str:
    if model.get("hub"):
        return f"It started from [{model['hub']}](https://huggingface.co/{model['hub']})."
    return f"A tiny {model['build']['architecture']}, made and trained from scratch by the recipe."


def _caution(record: dict[str, Any]) -> str:
    if record["scale"].startswith(PAPER_SCALE):
        return ""
    return (
        "\nIt is a twin of the paper's setting on a small scale, for looking into and for trying "
        "things out; it knows its recipe's task and nothing else, and its numbers are not the "
        "paper's.\n"
    )


def _command(record: dict[str, Any]) -> str:
    arm = record["variant"].partition("+")[0]
    words = [f"scale={record['scale']}", f"variant={arm}", f"seed={record['seed']}"]
    return f"bash recipes/{record['recipe']}/run.sh {shlex.join([*words, *record['overrides']])}"


def _record(record: dict[str, Any]) -> str:
    """Its id and hash, and where it is published."""
    digest = seal.digest(record)
    path = record_path(ROOT / "results" / record["recipe"], record)
    if record["overrides"]:
        where = "not published, since the run has overrides"
    elif path.is_file() and seal.digest(load(path)) == digest:
        where = f"published as `{path.relative_to(ROOT)}`"
    else:
        where = "not the published one of this arm and seed"
    return f"`{record_id(record)}`, sha256 `{digest}`, {where}"


def _table(record: dict[str, Any]) -> str:
    """One line a metric: before RL, this model and, at the paper's scale, the paper's number."""
    paper = load_paper(recipe_folder(record["recipe"]) / "paper.csv")
    at_scale = record["scale"].startswith(PAPER_SCALE)
    lines: dict[str, list[str]] = {}
    for row in build_rows([record["variant"]], paper, [record], record["scale"]):
        if row.ours:
            name = metric_text(row.metric, row.benchmark)
            cells = lines.setdefault(name, ["-", "-", *["-"] * at_scale])
            own = row.variant == record["variant"]
            cells[own] = estimate_text(row.ours, row.factor)
            if own and at_scale:
                cells[2] = paper_text(row.paper)
    head = "metric | before RL | this model (95 % CI)" + " | paper" * at_scale
    return markdown(head, ([name, *cells] for name, cells in lines.items()))


def _licence(model: dict[str, Any]) -> str:
    if model.get("hub"):
        return (
            f"That of the base model, {model['hub']} at revision {model['revision']}: read it on "
            "its page. The training code is Apache-2.0."
        )
    return "Apache-2.0, as the code that made it: there is no base model."
