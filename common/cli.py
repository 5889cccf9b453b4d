"""`python -m common <verb>`: run a recipe, check it, and read its results.

Words after the recipe are `scale=`, `variant=` and `seed=` (each takes a list: `seed=1,2,3`) and
overrides of any key of verl or of the recipe (`actor_rollout_ref.actor.optim.lr=2e-6`).
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common.console import fail, say
from common.process import StageError

EPILOG = """examples:
  python -m common run gspo_moe                            # the recipe's default arms and seeds
  python -m common run gspo_moe variant=gspo seed=7 trainer.total_training_steps=3
  python -m common check gspo_moe scale=node8              # compose and check, run nothing
  python -m common table gspo_moe --json                   # numbers for a program
  python -m common data fetch math500 aime24               # data sets; data --help tells more
"""


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(
        prog="python -m common",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = main.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(
        name: str, text: str, words: bool = True, optional: bool = False
    ) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=text, description=text)
        about = "a name under recipes/, or a recipe's folder" + ("; default: all" * optional)
        sub.add_argument("recipe", nargs="?" if optional else None, help=about)
        if words:
            sub.add_argument("words", nargs="*", help="scale=, variant=, seed=, and overrides")
        sub.add_argument("--json", action="store_true", help="print JSON on standard output")
        return sub

    run = verb("run", "Train, evaluate, record; then print table, verdicts and figures.")
    run.add_argument(
        "--fresh", action="store_true", help="set runs of another configuration aside, start anew"
    )
    check = verb("check", "Compose and check the runs, and say what they need; starts nothing.")
    check.add_argument(
        "--strict", action="store_true", help="what is missing here (GPUs, data, disk) is an error"
    )
    text = "Table and verdicts from the records; writes pages and figures."
    verb("table", text, words=False, optional=True)
    verb("claims", "The verdict on each claim, from the committed records.", words=False)
    verb("plot", "Draw the figures again from the committed records.", words=False)
    text = "Compute the committed results again from their counts; exit code 1 names what differs."
    verb("verify", text, words=False, optional=True)
    text = "All results as one page that needs nothing but a browser: figures, tables, verdicts."
    html = verbs.add_parser("html", help=text, description=text)
    html.add_argument("--to", type=Path, metavar="FILE", help="default: runs/report.html")
    text = "Copy a recipe's folder to try an idea in; its results are shown beside the parent's."
    verb("fork", text, words=False).add_argument("new", help="the name of the copy")
    text = "In which keys two recipes, variants or runs differ: algorithmic, scale, logging."
    diff = verbs.add_parser("diff", help=text, description=text)
    where = "RECIPE[/SCALE][/VARIANT], a record's file or a run's folder"
    diff.add_argument("a", help=where)
    diff.add_argument("b", help="the same, or `paper`: the paper's setting of A's recipe")
    text = "A finished run's model as a Hugging Face folder: checked, and with a model card."
    export = verbs.add_parser("export", help=text, description=text)
    export.add_argument("run", metavar="RUN", help="runs/<recipe>/<scale>/<variant>/seed<k>")
    export.add_argument("--to", type=Path, metavar="FOLDER", help="default: RUN/export")
    text = "Versions, GPUs, Ray, disk, hub: a report to paste into an issue, within five seconds."
    for sub in (diff, export, verbs.add_parser("doctor", help=text, description=text)):
        sub.add_argument("--json", action="store_true", help="print JSON on standard output")
    sweep = verb("sweep", "Train one key at several values (key=a,b,c); score on validation.")
    sweep.epilog = "The score is the mean of the last two validations; the test set is not read."
    from common.analysis import command as analyses
    from common.habits import command as habit_actions
    from common.rewards import grade as grading
    from common.services import command as services
    from data import command

    command.add_parser(verbs)
    grading.add_parser(verbs)
    analyses.add_parser(verbs)
    habit_actions.add_parser(verbs)
    services.add_parser(verbs)
    return main


def main(argv: list[str] | None = None) -> int:
    """Run one verb; returns the exit code (2: user error, 1: a stage failed, 130: interrupted)."""
    words = sys.argv[1:] if argv is None else argv
    # options may stand anywhere: what argparse leaves over are words that follow an option
    arguments, rest = parser().parse_known_args(words)
    if any(word.startswith("-") for word in rest) or (rest and not hasattr(arguments, "words")):
        parser().error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        arguments.words += rest
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup asks to outlive the terminal
        signal.signal(signal.SIGHUP, _interrupt)
    try:
        return _verb(arguments.verb)(arguments)
    except KeyboardInterrupt:
        fail("interrupted; nothing is lost: the same command goes on from the last checkpoint")
        return 130
    except ValueError as error:
        fail(str(error))
        return 2
    except StageError as error:
        text = str(error)
        if "No space left" in text or "Errno 28" in text:
            text += "; free some space: the same command goes on from the last checkpoint"
        fail(text)
        return 1
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        fail(f"{error.strerror or error}{where}; mend it: the same command goes on from there")
        return 1


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _verb(name: str) -> Callable[[argparse.Namespace], int]:
    return {
        "run": run,
        "check": check,
        "table": results,
        "claims": results,
        "plot": results,
        "verify": verify,
        "html": html,
        "fork": fork,
        "diff": diff,
        "export": export,
        "doctor": doctor,
        "sweep": sweep,
        "data": data,
        "analyse": analyse,
        "grade": grade,
        "habits": habits,
        "serve": serve,
    }[name]


def run(arguments: argparse.Namespace) -> int:
    from common.pipeline import execute, plan
    from common.results import report

    runs = plan(arguments.recipe, arguments.words)
    argv = ["run", runs[0].name, *arguments.words]
    written = [execute(r, argv, arguments.fresh) for r in runs]
    report.after_run(runs, written, arguments.json)
    return 0


def check(arguments: argparse.Namespace) -> int:
    from common.checks.report import check_runs, lines
    from common.pipeline import plan

    runs = plan(arguments.recipe, arguments.words, require_machine=False)
    report = check_runs(runs)
    if arguments.json:
        print(json.dumps(report, indent=2))
    shown: list[Any] = [None]
    warnings: dict[str, list[str]] = {}
    for name, found in report.items():
        if found["estimate"] not in shown:  # arms of one model share it
            shown.append(found["estimate"])
            for line in lines(found["estimate"]):
                say(line)
        say(f"{name}: valid (built: {', '.join(found['verl'])})")
        if isinstance(found["vllm"], dict):
            say("  vLLM: " + ", ".join(f"{k} {v}" for k, v in found["vllm"].items()))
        for warning in found["warnings"]:
            warnings.setdefault(warning, []).append(name)
    for warning, names in warnings.items():
        every = len(names) == len(report)
        say(f"warning: {'' if every else ', '.join(names) + ': '}{warning}")
    if arguments.strict and warnings:
        raise ValueError(f"--strict: {len(warnings)} warnings, the first: {next(iter(warnings))}")
    return 0


def results(arguments: argparse.Namespace) -> int:
    from common.config import recipe_folder
    from common.results import report

    if arguments.recipe is None:
        found = {made.recipe: made.as_json() for made in report.publish_all()}
        if arguments.json:
            print(json.dumps(found, indent=2))
    else:
        report.show(recipe_folder(arguments.recipe), arguments.verb, arguments.json)
    return 0


def verify(arguments: argparse.Namespace) -> int:
    from common.config import ROOT, recipe_folder, recipe_folders
    from common.results import verify as checks

    folder, done = ROOT / "results", []
    if arguments.recipe is None:
        every = checks.verify_all(recipe_folders(), folder)
    else:
        every = iter([checks.verify(recipe_folder(arguments.recipe), folder)])
    for found in every:
        done.append(found)
        for fault in found.faults:
            fail(fault.line)
        if not arguments.json and not found.faults:
            print(found.line)
    if arguments.json:
        print(json.dumps([asdict(found) for found in done], indent=2))
    return 1 if any(found.faults for found in done) else 0


def html(arguments: argparse.Namespace) -> int:
    from common.results import html as page
    from common.runs import relative

    written = page.write((arguments.to or page.OUTPUT).resolve())
    size = written.stat().st_size / 1e6
    say(f"page: {relative(written)} ({size:.1f} MB); open it in any browser")
    return 0


def fork(arguments: argparse.Namespace) -> int:
    from common.config import recipe_folder
    from common.fork import fork as copy

    parent = recipe_folder(arguments.recipe)
    folder = copy(parent, arguments.new)
    found = {"recipe": folder.name, "forked_from": parent.name}
    if arguments.json:
        print(json.dumps(found, indent=2))
    say(f"recipes/{folder.name}: change it, then `bash recipes/{folder.name}/run.sh`")
    return 0


def diff(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from common.differences import compare, show, side

    a = side(arguments.a)
    b = side(arguments.b, a)
    found = compare(a, b)
    if arguments.json:
        print(json.dumps([asdict(d) for d in found], indent=2))
    else:
        show(a, b, found, Console(width=None if sys.stdout.isatty() else 140))
    return 0


def export(arguments: argparse.Namespace) -> int:
    from common.export import export as write
    from common.runs import relative

    folder, found = write(arguments.run, arguments.to)
    if arguments.json:
        print(json.dumps(asdict(found), indent=2))
    say(f"export: {found.line}")
    say(f"export: {relative(folder.absolute())}; its README.md is the model card")
    return 0


def doctor(arguments: argparse.Namespace) -> int:
    from common.doctor import report

    found = report()
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        print("\n".join(f"- {what}: {text}" for what, text in found.items()))
    return 0


def sweep(arguments: argparse.Namespace) -> int:
    from common.sweep import sweep_key

    found: dict[str, Any] = sweep_key(arguments.recipe, arguments.words)
    if arguments.json:
        print(json.dumps(found, indent=2))
    return 0


def data(arguments: argparse.Namespace) -> int:
    from data import command

    return command.run(arguments)


def analyse(arguments: argparse.Namespace) -> int:
    from common.analysis import command

    return command.run(arguments)


def habits(arguments: argparse.Namespace) -> int:
    from common.habits import command

    return command.run(arguments)


def grade(arguments: argparse.Namespace) -> int:
    from common.rewards import grade as grading

    return grading.run(arguments)


def serve(arguments: argparse.Namespace) -> int:
    from common.services import command

    return command.run(arguments)
