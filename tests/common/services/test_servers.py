"""The servers of small models against the models themselves, and as programs."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch
import transformers
from fastapi.testclient import TestClient

from common.config import ROOT
from common.process import StageError
from common.services.launch import Child
from common.services.reference_server import ReferenceServer
from common.services.reward import RewardModel
from common.services.reward_server import RewardServer
from common.services.server import Options, batches, make_app
from common.stages.prepare_model import character_tokenizer

TEXTS = ["ab", "b", "abba" * 3, "a b"]
IDS = [[3, 4, 5], [4], [5, 3, 3, 4, 5, 5, 3], [3, 5]]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder with a tiny causal model, and one with two heads in the place of its own."""
    folder = tmp_path_factory.mktemp("models")
    config = transformers.Qwen3Config(
        vocab_size=8,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=16,
        pad_token_id=0,
        eos_token_id=1,
        num_labels=2,
    )
    torch.manual_seed(0)
    for name, cls in (
        ("causal", transformers.AutoModelForCausalLM),
        ("heads", transformers.AutoModelForSequenceClassification),
    ):
        cls.from_config(config).save_pretrained(folder / name)
        character_tokenizer("ab c:", "").save_pretrained(folder / name)
    return folder


def ask(served, path, body):
    with TestClient(make_app(served, served.options)) as http:
        assert http.get("/health").json()["kind"] == served.kind
        return http.post(path, **({"content": body} if isinstance(body, bytes) else {"json": body}))


@pytest.mark.component
def test_scores_are_those_of_the_model(model):
    served = RewardServer(Options(str(model / "heads"), batch=2))
    answer = ask(served, "/classify", {"input": TEXTS}).json()
    tokenizer = transformers.AutoTokenizer.from_pretrained(model / "heads")
    for item, text in zip(answer["data"], TEXTS, strict=True):
        with torch.no_grad():
            alone = served.model(**tokenizer(text, return_tensors="pt")).logits[0]
        torch.testing.assert_close(torch.tensor(item["heads"]), alone, rtol=0, atol=1e-6)
        assert item["probs"] == item["heads"] and item["num_classes"] == 2  # no sigmoid, no softmax
    weighted = RewardServer(Options(str(model / "heads"), weights=(2.0, -1.0)))
    for item in ask(weighted, "/classify", {"input": TEXTS}).json()["data"]:
        first, second = item["heads"]
        assert item["probs"] == [pytest.approx(2 * first - second)]
    with pytest.raises(ValueError, match="3 weights for 2 heads"):
        RewardServer(Options(str(model / "heads"), weights=(1.0, 1.0, 1.0)))


@pytest.mark.component
@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "Expecting"),
        (b"[1]", "a text or a list"),
        ({"input": [1]}, "a text or a list"),
        ({"input": ["a", ""]}, "text 1 has no token"),
        ({"input": ["a" * 17]}, "17 tokens, more than 16"),
    ],
)
def test_a_wrong_request_is_refused_and_the_server_serves_on(model, body, says):
    served = RewardServer(Options(str(model / "heads")))
    answer = ask(served, "/classify", body)
    assert answer.status_code == 400 and says in answer.json()["error"]["message"]
    long = {"input": ["b" + "a" * 16, "a" * 16, "\ud800"], "truncate_prompt_tokens": -1}
    kept, same, _ = ask(served, "/classify", json.dumps(long).encode()).json()["data"]
    assert kept["heads"] == pytest.approx(same["heads"], abs=1e-6)  # the end is kept


@pytest.mark.component
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_log_probabilities_are_those_of_the_model(model, temperature):
    served = ReferenceServer(Options(str(model / "causal"), batch=3))
    body = {"prompt": IDS, "prompt_logprobs": 0, "max_tokens": 1, "temperature": temperature}
    answer = ask(served, "/v1/completions", body).json()
    assert answer["prompt_logprobs_temperature"] == temperature
    for choice, ids in zip(answer["choices"], IDS, strict=True):
        with torch.no_grad():
            logits = served.model(input_ids=torch.tensor([ids])).logits[0] / temperature
        expected = logits.log_softmax(-1)
        entries = choice["prompt_logprobs"]
        assert entries[0] is None and len(entries) == len(ids)
        for k in range(1, len(ids)):
            found = entries[k][str(ids[k])]["logprob"]
            assert found == pytest.approx(expected[k - 1, ids[k]].item(), abs=1e-5)
    for wrong in ([[8]], [[-1]], [[]], "ab", [[3] * 17]):
        assert ask(served, "/v1/completions", body | {"prompt": wrong}).status_code == 400


def test_batches_are_bounded_by_sequences_and_by_tokens():
    lengths = [5, 1, 9, 2, 30]
    assert list(batches(lengths, 2, 100)) == [[1, 3], [0, 2], [4]]
    assert list(batches(lengths, 9, 10)) == [[1, 3], [0], [2], [4]]  # one is always taken


@pytest.mark.component
def test_a_service_is_killed_started_again_and_nothing_is_lost(model, tmp_path, capfd):
    with (
        Child("reward", model / "heads", tmp_path, {"batch": 2}) as child,
        RewardModel(str(child.address), retries=0, batch=2, wait_s=600) as client,
    ):
        before = client.score(TEXTS)
        child.poll()
        first = psutil.Process(json.loads(child.address.read_text())["pid"])
        first.kill()

        def restarted():
            child.poll()
            return child.restarts

        wait_for(restarted)  # at another port
        assert client.score(TEXTS) == before
        second = psutil.Process(json.loads(child.address.read_text())["pid"])
    assert not second.is_running() and not child.address.exists()
    said = capfd.readouterr().err
    assert "reward service: ended (exit code -9); starting it again, training waits" in said


@pytest.mark.component
def test_a_service_that_cannot_start_is_an_error_of_one_line(tmp_path):
    with (
        pytest.raises(StageError, match="did not start: .*nothing: there is no such") as error,
        Child("reward", tmp_path / "nothing", tmp_path, {}),
    ):
        pass
    assert "\n" not in str(error.value) and "reward.log" in str(error.value)


def wait_for(condition, seconds=300):
    until = time.time() + seconds
    while not condition():
        assert time.time() < until
        time.sleep(0.1)


@pytest.mark.component
def test_a_service_ends_with_the_process_that_started_it(model, tmp_path):
    address = tmp_path / "reward.json"
    program = (
        "import subprocess, sys, time; subprocess.Popen([sys.executable, '-m', 'common', 'serve', "
        f"'reward', {str(model / 'heads')!r}, '--address', {str(address)!r}]); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    try:
        wait_for(address.exists)
        service = psutil.Process(json.loads(address.read_text())["pid"])
        os.kill(parent.pid, signal.SIGKILL)
        service.wait(60)  # raises TimeoutExpired while it runs
    finally:
        parent.kill()
        parent.wait()
