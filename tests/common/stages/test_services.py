"""Which services a training starts, which it only looks for, and where its parts find them."""

import copy

import pytest

from common.config import compose_run, recipe_folder
from common.runs import write_json
from common.services import launch
from common.services.client import ServiceError
from common.services.reward import RewardModel
from common.stages import services as stage

URL = "http://127.0.0.1:9/classify"
NEURAL = "reward.custom_reward_function.reward_kwargs.neural"
ELSEWHERE = (f"{NEURAL}.service.address={URL}", "~recipe.services.reward")


def compose(*overrides):
    return compose_run(recipe_folder("qwen3_ppo"), "micro", "ppo", 1, list(overrides))


@pytest.fixture
def started(monkeypatch):
    """What would have been started, in order; and what is polled."""
    found = []

    class Child:
        def __init__(self, kind, model, folder, options):
            self.kind = kind
            found.append((kind, model, folder, options))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            found.append((self.kind, "ended"))

        def poll(self):
            found.append((self.kind, "polled"))

    monkeypatch.setattr(launch, "Child", Child)
    return found


def test_one_is_started_the_other_only_looked_for(started, tmp_path, monkeypatch):
    run = compose(*ELSEWHERE)
    stage.check_services(run)
    config = copy.deepcopy(run.config)
    stage.complete_paths(config, tmp_path)
    assert stage.named(config)["reference"]["address"] == str(tmp_path / "services/reference.json")
    assert stage.named(config)["reward"]["address"] == URL
    neural = config["reward"]["custom_reward_function"]["reward_kwargs"]["neural"]
    assert neural["tokenizer"] == str(tmp_path / "reward_model/model")
    checked = []
    monkeypatch.setattr(RewardModel, "check", lambda self, _: checked.append(self.address))
    with stage.services(run, tmp_path, config) as watch:
        watch()
    folder = tmp_path / "services"
    assert started == [
        ("reference", tmp_path / "start/model", folder, {"batch": 64}),
        ("reference", "polled"),
        ("reference", "ended"),
    ]
    assert checked == [URL]
    # what is served decides the numbers
    (tmp_path / "start").mkdir()
    write_json(tmp_path / "start" / "stage.json", {"key": "abc"})
    assert stage.service_inputs(run, tmp_path) == {"reference": "abc"}


def test_a_service_that_is_only_named_and_does_not_answer_ends_the_run(
    started, tmp_path, monkeypatch
):
    run = compose(*ELSEWHERE)

    def away(self, _):
        raise ServiceError(f"{self.name}: does not answer GET /health; start it first")

    monkeypatch.setattr(RewardModel, "check", away)
    with (
        pytest.raises(ValueError, match="reward service http.*start it first"),
        stage.services(run, tmp_path, run.config),
    ):
        pass


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (ELSEWHERE[1:], "a URL is wanted, or recipe.services.reward"),
        (ELSEWHERE[:1], "recipe.services starts one; write services/reward.json"),
        (["trainer.v1.trainer_mode=sync"], "belong together; set both or neither"),
        (["algorithm.use_kl_in_reward=false"], "nothing asks for a reference policy"),
    ],
)
def test_services_that_do_not_fit_are_refused(overrides, says):
    with pytest.raises(ValueError, match=says):
        stage.check_services(compose(*overrides))
