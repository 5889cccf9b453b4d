"""The graders' regular expressions, and whole graders, take linear time: growth is measured.

Three families of adversarial texts for each expression, made from its own syntax tree: a long run
of what it repeats and then a sign that fits nowhere; a match again and again, never the last; a
match whose runs are long and whose end is missing.
"""

import ast
import importlib
import inspect
import math
import pkgutil
import re
import time

import pytest

import common.rewards
from common.rewards import denial
from common.rewards.registry import MODULES, get_grader
from tests import fuzz

try:
    from re import _constants as sre_constants
    from re import _parser as sre_parse
except ImportError:  # Python 3.10
    import sre_constants
    import sre_parse

SIZES = [1024 * 2**i for i in range(7)]  # 1k ... 64k characters
LIMIT = 1.3  # exponent of the time in the length
# Their callers hand these a text of bounded length; that of whole graders is measured, too.
SHORT = {
    ("common.rewards.gsm8k", "_NUMBER"),
    ("common.rewards.knights_knaves", "_ITEM"),
    ("common.rewards.simplerl", "_NUMBER"),
}
SHORT |= {
    ("common.rewards.denial", n) for n, v in vars(denial).items() if isinstance(v, re.Pattern)
}
STRANGER = "\x01"
RUNS = [p for p in fuzz.PIECES if len(p) > 1 or p in "0.,-(){}\\ \n^"]
WRAPS = ("{}", "\\boxed{{{}}}", "<answer>{}</answer>", "</think>{}", "#### {}")
MODES = ("search", "match", "fullmatch", "finditer", "findall", "sub", "subn", "split")
REPEATS = (sre_constants.MAX_REPEAT, sre_constants.MIN_REPEAT)


def modules():
    found = pkgutil.walk_packages(common.rewards.__path__, "common.rewards.")
    return [importlib.import_module(info.name) for info in found if "__main__" not in info.name]


def patterns():
    """{(module, name): (expression, flags, the methods it is called by)}."""
    found = {}
    for module in modules():
        tree = ast.parse(inspect.getsource(module))
        used = {}
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Attribute) and node.attr in MODES):
                continue
            used.setdefault(ast.unparse(node.value).split(".")[-1], set()).add(node.attr)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("re."):
                mode = node.func.attr
                if mode in MODES and isinstance(node.args[0], ast.Constant):
                    key = (module.__name__, f"line {node.lineno}")
                    found[key] = (node.args[0].value, 0, {mode})
        for name, value in vars(module).items():
            many = value if isinstance(value, tuple | list) else [value]
            for i, pattern in enumerate(many):
                if isinstance(pattern, re.Pattern):
                    own = used.get(name) or {"search"}
                    found[module.__name__, f"{name}[{i}]" if many is value else name] = (
                        pattern.pattern,
                        pattern.flags,
                        own,
                    )
    return found


def example(nodes, run=1, strangers=()):
    """A text that the nodes match, with unbounded repeats `run` times."""
    text = ""
    for operator, argument in nodes:
        text += of_node(operator, argument, run)
    return text


def of_node(operator, argument, run):
    name = str(operator)
    if name == "LITERAL":
        return chr(argument)
    if name == "NOT_LITERAL":
        return "a" if argument != ord("a") else "b"
    if name == "ANY":
        return "a"
    if name == "IN":
        return member(argument)
    if name == "BRANCH":
        return example(argument[1][0], run)
    if name in ("SUBPATTERN", "ATOMIC_GROUP"):
        return example(argument[-1] if name == "SUBPATTERN" else argument, run)
    if "REPEAT" in name:
        low, high, inner = argument
        count = max(low, min(run, int(high))) if int(high) > 1 else low
        return example(inner, 1) * count
    return ""  # an anchor, a look-around or a group reference


def member(items):
    """A character of a set, the ordinary ones first."""
    kinds = {"CATEGORY_DIGIT": "1", "CATEGORY_SPACE": " ", "CATEGORY_WORD": "a"}
    negated = str(items[0][0]) == "NEGATE"
    if negated:
        taken = {chr(a) for o, a in items if str(o) == "LITERAL"}
        classes = {str(a) for o, a in items if str(o) == "CATEGORY"}
        options = [c for k, c in kinds.items() if k not in classes] + list("a(.-x")
        return next(c for c in options if c not in taken)
    operator, argument = items[0]
    if str(operator) == "LITERAL":
        return chr(argument)
    if str(operator) == "RANGE":
        return chr(argument[0])
    return kinds.get(str(argument), ".")


def repeats(nodes):
    """The inside of every repeat without a small bound."""
    for operator, argument in nodes:
        if operator in REPEATS or "REPEAT" in str(operator):
            if int(argument[1]) > 64:
                yield argument[2]
            yield from repeats(argument[2])
        elif str(operator) == "SUBPATTERN":
            yield from repeats(argument[-1])
        elif str(operator) == "BRANCH":
            for branch in argument[1]:
                yield from repeats(branch)
        elif str(operator) in ("ASSERT", "ASSERT_NOT"):
            yield from repeats(argument[1])


def families(expression, flags):
    """Texts of about n characters as functions of n."""
    tree = list(sre_parse.parse(expression, flags & ~re.DEBUG))
    seeds = {example(inner) for inner in repeats(tree)} - {""}
    for seed in sorted(seeds):
        yield lambda n, seed=seed: seed * (n // len(seed)) + STRANGER
    whole = example(tree) or "a"
    yield lambda n: whole * (n // len(whole)) + whole[:-1] + STRANGER
    yield lambda n: (whole[:-1] or whole) * (n // max(1, len(whole) - 1)) + STRANGER
    for end in range(1, len(tree) + 1):
        head = example(tree[:end])
        if head and any("REPEAT" in str(o) for o, _ in tree[:end]):
            yield lambda n, end=end: example(tree[:end], n) + STRANGER


def seconds(compiled, mode, text):
    call = getattr(compiled, mode)
    best = math.inf
    for _ in range(3):
        begun = time.process_time()
        found = call("", text) if mode in ("sub", "subn") else call(text)
        if mode == "finditer":
            for _match in found:
                pass
        best = min(best, time.process_time() - begun)
        if best > 0.02:
            break
    return best


def growth(compiled, mode, family):
    """Exponent of the time over the last doublings that were long enough to be measured."""
    times = []
    for n in SIZES:
        times.append(seconds(compiled, mode, family(n)))
        if times[-1] > 0.2:
            break
    slow = [(i, t) for i, t in enumerate(times) if t > 2e-4][-4:]
    if len(slow) < 3:
        return 0.0
    (first, t0), (last, t1) = slow[0], slow[-1]
    return math.log2(t1 / t0) / (last - first)


def steady(measure):
    """The least of some measurements: another program may have taken the processor's caches."""
    found = measure()
    for _ in range(3):
        if found >= LIMIT:
            found = min(found, measure())
    return found


def worst(expression, flags, modes):
    compiled = re.compile(expression, flags)
    return max(
        steady(lambda f=family, m=mode: growth(compiled, m, f))
        for family in families(expression, flags)
        for mode in modes
    )


FOUND = patterns()


@pytest.mark.parametrize(
    "key", sorted(FOUND.keys() - SHORT), ids=lambda key: f"{key[0].split('.', 2)[2]}.{key[1]}"
)
def test_time_grows_with_the_length_and_no_faster(key):
    assert worst(*FOUND[key]) < LIMIT


def test_the_expressions_for_short_texts_exist():
    assert FOUND.keys() >= SHORT


class OfGrader:
    """A grader in the place of an expression."""

    def __init__(self, name):
        grader = get_grader(name)
        self.call, self.name = grader.fast or grader.grade, name

    def search(self, text):
        return self.call(fuzz.row_of(self.name, text))


BOUNDED = [n for n in MODULES if get_grader(n).bounded or get_grader(n).fast]


@pytest.mark.parametrize("name", BOUNDED)
def test_a_bounded_grader_takes_linear_time(name):
    found = {}
    grader = OfGrader(name)
    for piece in RUNS:
        for wrap in WRAPS:
            text = lambda n, p=piece, w=wrap: w.format(p * (n // len(p)))  # noqa: E731
            value = steady(lambda text=text: growth(grader, "search", text))
            if value >= LIMIT:
                found[piece, wrap] = value
    assert not found


@pytest.mark.parametrize(
    "expression", [r"\s+$", r"<a>.*?</a>.*x", r"\d+x", r"(\w+)(?: is)", r"a.*b.*c$"]
)
def test_expressions_that_grow_faster_are_found(expression):
    compiled = re.compile(expression, re.DOTALL)
    assert any(growth(compiled, "search", f) > LIMIT for f in families(expression, re.DOTALL))


@pytest.mark.parametrize("expression", [r"<answer>", r"[a-z]", r"\d{1,12}x", r"####\s?(\S)"])
def test_linear_expressions_pass(expression):
    assert worst(expression, 0, {"search", "findall"}) < LIMIT


def test_the_expressions_of_the_graders_are_found():
    names = {f"{module}.{name}" for module, name in FOUND}
    assert "common.rewards.arithmetic_chain._LAST_STEP" in names and len(names) > 10
