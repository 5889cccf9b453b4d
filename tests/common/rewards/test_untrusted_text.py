"""No text becomes code: a lint of the sources, and graders at work under an audit hook."""

import ast

import pytest

from common.config import ROOT
from common.rewards.registry import MODULES
from common.rewards.workers import Pool
from tests.fuzz import HOSTILE, fuzz

FILES = sorted(p for folder in ("common", "recipes", "data") for p in (ROOT / folder).rglob("*.py"))
CODE = {"eval", "exec", "compile", "__import__"}
PARSERS = {"sympify", "parse_expr", "lambdify", "literal_eval"}
# The one source that may make code of text: the child that has given up its rights before it does.
IN_THE_SANDBOX = {"common/sandbox/process.py": {"exec", "compile"}}
MODULES_REFUSED = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "pty"}


def faults(tree):
    """What no source of ours may do, as (line, what)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                if name.split(".")[0] in MODULES_REFUSED or name in PARSERS:
                    yield node.lineno, f"import {name}"
        elif isinstance(node, ast.Name) and node.id in CODE | PARSERS:
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute):
            text = ast.unparse(node)
            if node.attr in PARSERS or text in {"os.system", "os.popen", "builtins.eval"}:
                yield node.lineno, text
        elif isinstance(node, ast.Call):
            called, words = ast.unparse(node.func), {k.arg: k.value for k in node.keywords}
            if called == "torch.load" and ast.unparse(words.get("weights_only", node)) != "True":
                yield node.lineno, "torch.load without weights_only=True"
            if called == "yaml.load" and "Safe" not in ast.unparse(words.get("Loader", node)):
                yield node.lineno, "yaml.load without a safe loader"
            if "shell" in words:
                yield node.lineno, f"{called}(shell=...)"
            if "trust_remote_code" in words and ast.unparse(words["trust_remote_code"]) != "False":
                yield node.lineno, "trust_remote_code"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_source_makes_no_code_of_text(path):
    allowed = IN_THE_SANDBOX.get(str(path.relative_to(ROOT)), set())
    found = [what for _, what in faults(ast.parse(path.read_text())) if what not in allowed]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "eval('1')",
        "run = exec",
        "compile(text, '', 'eval')",
        "__import__(name)",
        "import pickle",
        "from pickle import loads",
        "from sympy import sympify",
        "sympy.sympify(text)",
        "from sympy.parsing.sympy_parser import parse_expr",
        "ast.literal_eval(text)",
        "os.system(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "yaml.load(text, Loader=yaml.Loader)",
        "subprocess.run(text, shell=True)",
        "AutoModel.from_pretrained(path, trust_remote_code=True)",
    ],
)
def test_the_lint_finds_what_it_looks_for(line):
    assert list(faults(ast.parse(line)))


@pytest.mark.parametrize("line", ["model.eval()", "re.compile('x')", "yaml.safe_load(text)"])
def test_the_lint_lets_ordinary_code_pass(line):
    assert not list(faults(ast.parse(line)))


@pytest.fixture(scope="module")
def pool():
    made = Pool(workers=1)
    yield made
    made.close()


@pytest.mark.parametrize("name", MODULES)
def test_hostile_text_gets_no_grader_to_do_what_the_audit_hook_refuses(pool, name):
    """An unbounded grader may try (latex2sympy sympifies some texts); it is stopped."""
    found, _ = fuzz(name, HOSTILE, pool)
    assert found == []
