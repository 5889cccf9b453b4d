"""All graders by name. A grader's module is imported when the grader is asked for."""

from __future__ import annotations

import difflib
import importlib
from pathlib import Path

from common.rewards.verdict import Grader

MODULES = {
    "arithmetic_chain": "arithmetic_chain",
    "checkable": "checkable",
    "code": "code",
    "countdown_chain": "countdown_chain",
    "countdown_published": "countdown",
    "countdown_strict": "countdown",
    "gemma_exact": "gemma_gsm8k",
    "gemma_exact_fixed": "gemma_gsm8k",
    "gemma_format": "gemma_gsm8k",
    "gemma_old": "gemma_gsm8k",
    "gemma_old_fixed": "gemma_gsm8k",
    "gemma_plausible": "gemma_gsm8k",
    "gemma_plausible_fixed": "gemma_gsm8k",
    "gemma_published_new": "gemma_gsm8k",
    "gemma_published_new_fixed": "gemma_gsm8k",
    "gemma_smooth": "gemma_gsm8k",
    "gsm8k": "gsm8k",
    "ifeval": "instructions",
    "integer_answer": "integer_answer",
    "kbqa": "retrieval_qa",
    "kbqa_strict": "retrieval_qa",
    "kk_eval": "knights_knaves",
    "kk_published": "knights_knaves",
    "kk_published_opened": "knights_knaves",
    "kk_strict": "knights_knaves",
    "math": "mathematics",
    "math_equiv": "mathematics",
    "nomiracl": "retrieval_qa",
    "random_reward": "random_reward",
    "rgb": "retrieval_qa",
    "rgb_strict": "retrieval_qa",
    "simplerl": "simplerl",
}
ROOT = Path(__file__).resolve().parent.parent.parent


def module_of(name: str) -> str:
    """The module that lists the grader `name`; for a grader outside this package, the name itself
    says it: `recipes.my_recipe.task:my_grader`.

    Raises: ValueError, with the closest names, when there is none.
    """
    if ":" in name:
        return name.partition(":")[0]
    if name not in MODULES:
        close = difflib.get_close_matches(name, MODULES, n=3) or sorted(MODULES)
        raise ValueError(f"no grader {name!r}; there is {', '.join(close)}")
    return f"common.rewards.{MODULES[name]}"


def get_grader(name: str) -> Grader:
    """The grader called `name`; each module of graders lists its own in `GRADERS`.

    Raises: ValueError when there is no such grader.
    """
    path = module_of(name)
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        raise ValueError(f"grader {name!r}: {error}") from None
    for grader in getattr(module, "GRADERS", ()):
        if grader.name == name.rpartition(":")[2]:
            return grader
    raise ValueError(f"no grader {name!r}: {path}.GRADERS does not list it")
