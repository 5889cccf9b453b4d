"""Any text gets a verdict: `python -m tests.fuzz [graders=a,b] [inputs=100000] [seed=1]`.

Run every night; the suite does the same with fewer inputs. Every input goes through the processes
of common/rewards/workers.py, so a hang or a crash is found, named and survived.
"""

from __future__ import annotations

import json
import math
import random
import sys
import time

from common.rewards.registry import MODULES, get_grader
from common.rewards.verdict import Outcome, Verdict
from common.rewards.workers import Pool

KK = {"Zoey": "knight", "Riley": "knave", "Ella": "knight"}
CONSTRAINTS = [["count", "b", 2], ["start", "a"], ["words", 2]]
INSTRUCTIONS = {
    "length_constraints:number_sentences": {"num_sentences": 2, "relation": "at least"},
    "keywords:frequency": {"keyword": "answer", "frequency": 2, "relation": "less than"},
    "detectable_format:title": {},
}
IFEVAL = {
    "prompt": "Say so.",
    "instruction_id_list": list(INSTRUCTIONS),
    "kwargs": list(INSTRUCTIONS.values()),
}
RGB = {"answer": ["Paris", ["France", "the Republic"]], "query": "Where is the Louvre?"}
# By the first part of a grader's name: what its row needs besides the response.
ROWS = {
    "arithmetic_chain": {"gold": "8"},
    "checkable": {"gold": {"alphabet": "abc", "longest": 20, "constraints": CONSTRAINTS}},
    "code": {"gold": {"inputs": ["1"], "outputs": ["42"]}},
    "countdown": {"gold": {"numbers": [3, 5, 7], "target": 22}},
    "gemma": {"gold": "42"},
    "gsm8k": {"gold": "42"},
    "ifeval": IFEVAL,
    "integer_answer": {"gold": "42"},
    "kbqa": {"gold": RGB},
    "kk": {"gold": KK},
    "math": {"gold": "\\frac{1}{2}"},
    "nomiracl": {"gold": "relevant"},
    "random": {"gold": "42"},
    "rgb": {"gold": RGB},
    "simplerl": {"gold": "\\frac{1}{2}"},
}
PIECES = (
    *"0123456789+-*/=^_{}()[]<>$%#.,:;'\"\\|&~ \n\t\r\0",
    *(
        "\\boxed{",
        "\\frac{",
        "\\sqrt{",
        "\\text{",
        "\\left(",
        "\\right)",
        "\\pi",
        "\\begin{matrix}",
    ),
    *("<think>", "</think>", "<answer>", "</answer>", "<|im_start|>assistant", "<|im_end|>"),
    *("#### ", "The answer is ", "final answer", "not ", "I don't know", "42", "1/2", "0.5", "22"),
    *("Zoey", "Riley", "Ella", " is a knight", " is a knave", "(1) ", "3 * 5 + 7", "9**9**9"),
    *("__import__('os').system('x')", "lambda: 0", "{}", "[]", "e" * 40, "9" * 40, "- " * 20),
    *("\n```python\n", "\n```\n", "print(42)"),
    *("\u00e9", "\u4e2d\u6587", "\u202e", "\u0661", "\u2212", "\ud800", "\U0001f600", "\ufeff"),
)
HOSTILE = (
    "",
    "\0",
    "\ud800",
    "\u202e42\u202c",
    "\\boxed{" * 20_000,
    "\\boxed{9^{9^{9^{9}}}}",
    "\\boxed{" + "(" * 3000 + ")" * 3000 + "}",
    "\\boxed{" + "\\frac{1}{" * 300 + "2" + "}" * 300 + "}",
    "\\boxed{__import__('os').system('echo x')}",
    "\\boxed{\\text{eval(open('/etc/passwd').read())}}",
    "\\boxed{" + "9" * 10_000 + "}",
    "\\boxed{10^{100000}!}",
    "\\boxed{1" + "%" * 400 + "}",
    "\\boxed{" + "-" * 400 + "1}",
    "\\boxed{" + "1+" * 290 + "1}",
    "\\boxed{" + "x^{" * 150 + "1" + "}" * 151,
    "\\boxed{5" + "!" * 400 + "}",
    "<answer>" + "9**" * 200 + "9</answer>",
    "<answer>" + "(" * 5000 + "</answer>",
    "<answer>().__class__.__base__.__subclasses__()</answer>",
    "<think>" * 10_000,
    "<think></think><answer>" * 3000,
    "#### " * 20_000,
    "#### " + "1," * 20_000,
    "Zoey is a knight " * 5000,
    "(1) " * 20_000,
    " " * 200_000 + "x",
    "\n" * 200_000,
    "a" * 1_000_000,
    "1" * 200_000,
    "\\" * 100_000,
    "{" * 100_000,
    "$" * 100_000,
)


def row_of(name, response):
    (rest,) = (row for start, row in ROWS.items() if name.startswith(start))
    return {"response": response, **rest}


def responses(draw, count):
    """`count` texts: mostly pieces of what the graders look for, some of it repeated."""
    for _ in range(count):
        pieces = draw.choices(PIECES, k=draw.randrange(1, 30))
        if draw.random() < 0.1:
            pieces[-1] *= draw.randrange(1, 500)
        if draw.random() < 0.1:
            pieces.append("".join(chr(draw.randrange(0x110000)) for _ in range(20)))
        yield "".join(pieces)


def fault(grader, verdict):
    """What is wrong with a verdict on some text, or None."""
    if not isinstance(verdict, Verdict):
        return f"raised ValueError: {verdict}"
    if not isinstance(verdict.outcome, Outcome) or not isinstance(verdict.score, int | float):
        return f"not a verdict: {verdict}"
    if not math.isfinite(verdict.score) or not isinstance(verdict.extracted, str | None):
        return f"not a verdict: {verdict}"
    # an unbounded grader may be stopped, at the deadline or by the audit hook; none may fail
    forbidden = {"crash", "memory", "refused", "deadline"} if grader.bounded else {"crash"}
    if forbidden & set(verdict.details):
        return f"without a verdict: {verdict.details}"
    json.dumps(verdict.details)
    for key in set(grader.metrics) & set(verdict.details):
        if not isinstance(verdict.details[key], int | float):
            return f"the metric {key!r} is no number: {verdict.details[key]!r}"
    return None


def fuzz(name, texts, pool, chunk=200):
    """(text, fault) of the inputs that a grader answers wrongly, and how many were ungradable."""
    grader, found, ungradable = get_grader(name), [], 0
    texts = list(texts)
    for i in range(0, len(texts), chunk):
        some = texts[i : i + chunk]
        verdicts = pool.grade_all(name, [row_of(name, text) for text in some])
        for text, verdict in zip(some, verdicts, strict=True):
            what = fault(grader, verdict)
            if what:
                found.append((text, what))
            elif verdict.outcome is Outcome.UNGRADABLE:
                ungradable += 1
    return found, ungradable


def main(words):
    options = {"graders": ",".join(MODULES), "inputs": "100000", "seed": str(int(time.time()))}
    for word in words:
        key, separator, value = word.partition("=")
        if key not in options or not separator:
            sys.exit(f"error: {word!r}: write graders=a,b, inputs=<number> or seed=<number>")
        options[key] = value
    print(f"seed={options['seed']}")
    pool, failed = Pool(), 0
    try:
        for name in options["graders"].split(","):
            texts = responses(random.Random(int(options["seed"])), int(options["inputs"]))
            begun = time.monotonic()
            found, ungradable = fuzz(name, texts, pool)
            seconds = time.monotonic() - begun
            print(f"{name}: {len(found)} faults, {ungradable} ungradable, {seconds:.0f} s")
            for text, what in found[:5]:
                print(f"  {what}: {text[:200]!r}")
            failed += len(found)
    finally:
        pool.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
