"""The transformers rollout server in one process, without Ray."""

import asyncio
import dataclasses
import functools
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf
from verl.workers.config import CheckpointEngineConfig, HFModelConfig, RolloutConfig
from verl.workers.engine.fsdp.utils import unfuse_moe_params

from common.plugin import rollout_server
from common.plugin.rollout_server import ServerAdapter, TransformersServer, request_params
from common.plugin.routing import Routing
from common.plugin.sampling import SamplingParams, sample

PROMPTS = [[3 + i, 4, 5 + i % 2] for i in range(12)]


@pytest.fixture
def config():
    return RolloutConfig(
        name="transformers",
        prompt_length=8,
        response_length=10,
        dtype="float32",
        tensor_model_parallel_size=1,
    )


@pytest.fixture
def start(checkpoint, config):
    model_config = {
        "_target_": "verl.workers.config.HFModelConfig",
        "path": str(checkpoint),
        "override_config": {"attn_implementation": "sdpa"},
    }
    return functools.partial(TransformersServer, config, OmegaConf.create(model_config))


def ask(server, prompt, **params):
    return server.generate(
        request_id="0", prompt_ids=prompt, sampling_params=params, image_data=None, video_data=None
    )


def test_routes_come_with_the_answer_when_asked_for(start, config, moe):
    plain = asyncio.run(ask(start(load_weights=True), PROMPTS[0], seed=1))
    assert plain.routed_experts is None
    config = dataclasses.replace(config, enable_rollout_routing_replay=True)
    server = TransformersServer(config, start.args[1], load_weights=True)
    answer = asyncio.run(ask(server, PROMPTS[0], seed=1))
    assert answer.token_ids == plain.token_ids
    tokens = torch.tensor([[*PROMPTS[0], *answer.token_ids[:-1]]])
    routing = Routing(moe)
    routing.arm()
    with torch.no_grad():
        moe(tokens)
    expected = routing.chosen().sort(-1).values
    routing.disarm()
    assert torch.equal(torch.from_numpy(answer.routed_experts).sort(-1).values, expected)


def test_requests_are_answered_in_one_batch(start, moe, monkeypatch):
    batches = []

    def counting(model, prompts, *args):
        batches.append(len(prompts))
        return sample(model, prompts, *args)

    monkeypatch.setattr(rollout_server, "sample", counting)
    server = start(load_weights=True)

    async def main():
        return await asyncio.gather(
            *(ask(server, p, seed=i, logprobs=True, top_k=-1) for i, p in enumerate(PROMPTS))
        )

    replies = asyncio.run(main())
    assert batches == [12]
    expected = sample(
        moe, PROMPTS, [SamplingParams(10, seed=i, stop_token_ids=(1, 2)) for i in range(12)]
    )
    for reply, completion in zip(replies, expected, strict=True):
        assert reply.token_ids == completion.token_ids
        assert reply.log_probs == pytest.approx(completion.log_probs, abs=1e-5)
        assert reply.stop_reason == "completed"  # verl's word for "stop" and "length"
    assert {len(r.token_ids) for r in replies} > {10}  # some were stopped by 1 or 2, some not


def test_a_batch_holds_at_most_max_num_seqs(start, config, monkeypatch):
    batches = []
    monkeypatch.setattr(rollout_server, "sample", lambda *a: [batches.append(a[3])] and sample(*a))
    config.max_num_seqs = 5
    server = start(load_weights=True)

    async def main():
        await asyncio.gather(*(ask(server, p) for p in PROMPTS))

    asyncio.run(main())
    assert batches == [5, 5, 2]


def test_log_probs_come_only_on_request(start):
    assert asyncio.run(ask(start(load_weights=True), [3])).log_probs is None


def test_errors_reach_their_caller_and_the_server_serves_on(start, monkeypatch):
    server = start(load_weights=True)

    def failing(*_):
        raise RuntimeError("out of memory")

    async def main():
        with pytest.raises(ValueError, match=r"no sampling parameters \['min_p'\]"):
            await ask(server, [3], min_p=0.1)
        with pytest.raises(ValueError, match="text only, got"):
            await server.generate([3], {}, image_data=["picture"])
        with monkeypatch.context() as patch:
            patch.setattr(rollout_server, "sample", failing)
            both = await asyncio.gather(ask(server, [3]), ask(server, [4]), return_exceptions=True)
        assert [str(e) for e in both] == ["out of memory"] * 2
        assert (await ask(server, [3], max_tokens=2)).token_ids

    asyncio.run(main())


def test_a_cancelled_request_leaves_the_others_alone(start):
    server = start(load_weights=True)

    async def main():
        first, second = (asyncio.create_task(ask(server, p)) for p in PROMPTS[:2])
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).token_ids

    asyncio.run(main())


def test_hybrid_server_waits_for_all_weights(start, moe):
    """It starts with random weights: they must never answer, nor a mix of old and new."""
    server = start(load_weights=False)
    weights = list(unfuse_moe_params(iter(moe.state_dict().items()), "qwen3_moe"))

    async def main():
        request = asyncio.create_task(ask(server, PROMPTS[0], temperature=0))
        await server.update_weights(dict(weights[:9]), last=False)
        done, _ = await asyncio.wait([request], timeout=0.3)
        assert not done
        await server.update_weights(dict(weights[9:]), last=True, global_steps=7)
        return await request

    reply = asyncio.run(main())
    params = SamplingParams(10, temperature=0, stop_token_ids=(1, 2))
    assert reply.token_ids == sample(moe, PROMPTS[:1], params)[0].token_ids
    assert reply.extra_fields == {"global_steps": 7}


def test_a_paused_server_answers_with_the_next_weights(start, moe):
    async def main():
        server = start(load_weights=True)
        await server.abort_all_requests()
        waiting = asyncio.create_task(ask(server, PROMPTS[0], seed=1))
        await asyncio.sleep(0.1)
        await server.update_weights(dict(moe.state_dict()), last=True, global_steps=7)
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await server.resume_generation()
        return await waiting

    assert asyncio.run(main()).extra_fields["global_steps"] == 7


def test_an_incomplete_update_fails(start, moe):
    server = start(load_weights=False)
    weights = dict(moe.state_dict())
    del weights["model.norm.weight"]
    with pytest.raises(ValueError, match=r"left out 1 weights: \['model.norm.weight'\]"):
        asyncio.run(server.update_weights(weights, last=True))


def test_the_adapter_sends_everything_in_buckets(start, checkpoint, make, monkeypatch):
    server, calls, names = start(load_weights=True), [], []

    async def remote(named, **kwargs):
        calls.append(len(named))
        await server.update_weights(named, **kwargs)

    handle = SimpleNamespace(update_weights=SimpleNamespace(remote=remote))
    monkeypatch.setattr(rollout_server.ray, "get_actor", lambda n: names.append(n) or handle)
    new = make(seed=5)
    sent = list(unfuse_moe_params(iter(new.state_dict().items()), "qwen3_moe"))
    config = RolloutConfig(
        name="transformers",
        tensor_model_parallel_size=2,  # two trainer ranks to a replica
        checkpoint_engine=CheckpointEngineConfig(update_weights_bucket_megabytes=0),
    )
    model_config = HFModelConfig(
        path=str(checkpoint), override_config={"attn_implementation": "sdpa"}
    )
    for rank in "23":  # the second only takes part in the gathering
        monkeypatch.setenv("RANK", rank)
        adapter = ServerAdapter(config, model_config, None)
        asyncio.run(adapter.update_weights(iter(sent), global_steps=4))
    assert names == ["transformers_server_1_0"]
    assert calls == [1] * len(sent) + [0]  # a bucket of 0 MB holds one tensor
    assert server.global_steps == 4
    for name, weight in new.state_dict().items():
        torch.testing.assert_close(server.model.state_dict()[name], weight, rtol=0, atol=0)
    with pytest.raises(ValueError, match="lora.merge=True"):
        asyncio.run(adapter.update_weights(iter(sent), peft_config={"r": 8}))


def test_dtype_is_the_configured_one(start, config):
    object.__setattr__(config, "dtype", "bfloat16")
    server = start(load_weights=True)
    assert next(server.model.parameters()).dtype is torch.bfloat16
    assert asyncio.run(ask(server, [3])).token_ids


def test_eos_comes_from_generation_config_and_tokenizer(start):
    assert start(load_weights=False).eos_token_ids == (1, 2)


@pytest.mark.parametrize(
    ("asked", "prompt_length", "expected"),
    [({}, 3, 10), ({}, 15, 3), ({"max_tokens": 4}, 3, 4), ({"max_new_tokens": 99}, 3, 15)],
)
def test_length_limits(config, asked, prompt_length, expected):
    assert request_params(asked, prompt_length, config, ()).max_new_tokens == expected


def test_request_params(config):
    request = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 7,
        "seed": 3,
        "logprobs": True,
        "repetition_penalty": 1.0,
        "stop_token_ids": [9],
    }
    assert request_params(request, 3, config, (1, 2)) == SamplingParams(
        10, temperature=0.5, top_p=0.9, top_k=7, seed=3, stop_token_ids=(9, 1, 2)
    )
    assert request_params({"ignore_eos": True}, 3, config, (1, 2)).stop_token_ids == ()
    with pytest.raises(ValueError, match="prompt of 18 tokens leaves no room in a context of 18"):
        request_params({}, 18, config, ())
    with pytest.raises(ValueError, match="needs repetition_penalty=1.0"):
        request_params({"repetition_penalty": 1.2}, 3, config, ())
