"""The key of the data stage covers what a builder reads, and nothing else."""

import pytest

from common.config import compose_run, recipe_folder
from data import dependencies, prompts


def test_modules_are_followed_through_imports():
    chain = dependencies.modules("arithmetic_chain")
    assert chain == ["data/arithmetic_chain.py", "data/micro_task.py", "data/parquet.py"]
    found = dependencies.modules("from_sources")
    assert {f"data/{n}.py" for n in ("store", "damage", "answers", "formats", "prompts")} < set(
        found
    )
    assert "data/arithmetic_chain.py" not in found


OPTIONS = {
    "template": "psr_nsr",
    "train": [{"source": "math/train"}],
    "tests": {"aime25": [{"source": "aime25", "template": "plain"}]},
}


def test_templates_and_sets_are_inputs():
    found = dependencies.inputs("from_sources", OPTIONS)
    assert set(found) == {"template psr_nsr", "template plain", "math/train", "aime25/test"}
    assert found["template psr_nsr"] == prompts.load("psr_nsr").sha256
    assert found["math/train"]["splits"]["rows"] == 7500
    # what another recipe uses is no input of this one
    assert dependencies.inputs("arithmetic_chain", CHAIN) == {}


CHAIN = dict.fromkeys(
    ("operations", "modulus", "train", "validation", "test", "sft", "sft_noisy", "noise"), 1
)


def test_a_default_template_is_an_input():
    options = dict.fromkeys(("calculations", "largest", "train", "validation", "test", "sft"), 1)
    assert set(dependencies.inputs("word_problems", options)) == {"template plain"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            OPTIONS | {"validaton": 3},
            "from_sources: got an unexpected keyword argument 'validaton'",
        ),
        ({"template": "plain", "tests": {}}, "missing a required argument: 'train'"),
        (OPTIONS | {"template": "psr"}, "no prompt template 'psr'"),
        (OPTIONS | {"train": [{"source": "maths"}]}, "no data set 'maths' .* did you mean math"),
        (
            OPTIONS | {"train": [{"source": "math"}]},
            "math: math has several splits; write math/train",
        ),
    ],
)
def test_unknown_options_and_names_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        dependencies.inputs("from_sources", options)


def test_node8_of_gspo_moe_names_its_sets():
    run = compose_run(recipe_folder("gspo_moe"), "node8", "gspo", 1)
    found = dependencies.inputs(run.recipe.data.builder, run.recipe.data.options)
    assert set(found) == {
        "template boxed_integer", "dapo_math_17k/train", "aime24/test", "limo/train",
        "template livecodebench", "livecodebench/test", "template codeforces", "codeforces/test",
    }  # fmt: skip
    for name in ("dapo_math_17k/train", "aime24/test"):
        assert "@main" not in str(found[name]["splits"])
