"""`python -m benchmarks.graders --cases DIR --data DIR`: write results/graders.{json,md}.

`--cases`: folder of published verdicts (JSON lines; benchmarks/graders/agreement.py says which).
`--data`: folder with `math/{train,test}.jsonl`, rows with `answer_boxed` and `solution`.
Sections that are named are measured again, the others kept from results/graders.json; without the
folders nothing is measured, and the page is written again from that file and the judgements.
"""

from __future__ import annotations

import argparse
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from benchmarks.graders import agreement, page, throughput
from common.config import ROOT
from common.console import fail, say
from common.results import provenance
from common.results.seal import read_sealed, sealed
from common.runs import now, write_json

FOLDER = ROOT / "results"
PACKAGES = ("math-verify", "latex2sympy2-extended", "sympy", "verl", "lm-eval")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", help="agreement, false, speed")
    parser.add_argument("--cases", type=Path)
    parser.add_argument("--data", type=Path)
    arguments = parser.parse_args()
    measures = {
        "agreement": lambda: agreement.measure(arguments.cases),
        "false": lambda: agreement.false_accepts(arguments.data),
        "speed": lambda: throughput.measure(arguments.cases, arguments.data),
    }
    folders = (arguments.cases, arguments.data)
    if None in folders and (any(folders) or arguments.sections):
        fail("give both --cases and --data")
        return 2
    sections = arguments.sections or (list(measures) if any(folders) else [])
    unknown = [name for name in sections if name not in measures]
    if unknown:
        fail(f"{unknown[0]}: no such section; there is {', '.join(measures)}")
        return 2
    path = FOLDER / "graders.json"
    report: dict[str, Any] = read_sealed(path) if path.exists() else {}
    code = code_state()  # before the report itself is a change
    for name in sections:
        say(f"graders: {name}")
        load = os.getloadavg()[0]
        found = measures[name]()
        report[name] = {"found": found, "origin": origin() | {"code": code, "load": round(load, 2)}}
        write_json(path, sealed(report))
    judged = yaml.safe_load((FOLDER / "graders_judged.yaml").read_text())
    (FOLDER / "graders.md").write_text(page.render(read_sealed(path), judged))
    say(f"graders: {path.with_suffix('.md').relative_to(ROOT)}")
    return 0


def code_state() -> str:
    git = provenance.git_state(ROOT)
    return f"{(git['commit'] or 'none')[:10]}{' with changes' if git['dirty'] else ''}"


def origin() -> dict[str, Any]:
    """What the numbers of a section come from, besides the code."""
    machine = provenance.hardware()
    return {
        "when": now(),
        "packages": {name: version(name) for name in PACKAGES},
        "machine": f"{machine['cores']} cores of {machine['cpu']}, {machine['memory_gb']:.0f} GB",
    }


if __name__ == "__main__":
    raise SystemExit(main())
