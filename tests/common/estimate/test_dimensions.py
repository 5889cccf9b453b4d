"""Parameter counts: the formula, the model cards and transformers agree."""

import pytest

from common.config import choices, recipe_folder
from common.estimate.dimensions import dimensions, hub_models, model_config
from common.schema import Model
from tests.composed import composed

GSPO = recipe_folder("gspo_moe")


@pytest.mark.parametrize("name", hub_models())
def test_the_formula_gives_the_model_cards_parameters(name):
    shipped = hub_models()[name]
    assert dimensions(shipped["config"]).parameters() == shipped["parameters"]


def test_what_is_active_in_the_papers_model():
    d = dimensions(hub_models()["Qwen/Qwen3-30B-A3B-Base"]["config"])
    assert round(d.active / 1e9, 1) == 3.4
    assert d.active - d.multiplied == 151936 * 2048
    assert d.kv_bytes == 2 * 2 * 48 * 4 * 128
    assert dimensions(hub_models()["Qwen/Qwen3-8B-Base"]["config"]).active == 8190735360


@pytest.mark.component
@pytest.mark.parametrize("scale", choices(GSPO, "scale"))
@pytest.mark.parametrize("name", ["moe", "dense"])
def test_the_formula_counts_what_transformers_builds(scale, name):
    import torch
    import transformers

    model = composed("gspo_moe", scale, "gspo").recipe.models[name]
    fields = dict(model_config(model))
    if model.build:
        config = getattr(transformers, f"{model.build['architecture']}Config")(**fields)
    else:
        config = transformers.AutoConfig.for_model(fields.pop("model_type"), **fields)
    with torch.device("meta"):
        built = transformers.AutoModelForCausalLM.from_config(config)
    assert sum(p.numel() for p in built.parameters()) == dimensions(fields).parameters()


def test_a_model_that_is_not_shipped_has_no_dimensions():
    assert model_config(Model(hub="nobody/nothing")) is None
