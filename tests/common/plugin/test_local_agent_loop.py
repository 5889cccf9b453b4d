"""The local agent loop beside verl's own, on the same requests."""

import asyncio
import time
from typing import Any

import numpy as np
import pytest
import torch
import transfer_queue as tq
from omegaconf import OmegaConf
from tensordict import NonTensorData, TensorDict
from transfer_queue.storage.managers.simple_storage_manager import AsyncSimpleStorageManager
from verl.trainer.ppo.reward import load_reward_manager
from verl.trainer.ppo.v1.agent_loop_tq import AgentLoopWorkerTQ
from verl.utils import tensordict_utils as tu
from verl.workers.rollout.replica import TokenOutput

from common.config import ROOT, compose_run
from common.plugin.local_agent_loop import LocalAgentLoopManager
from common.stages.prepare_model import build_model

PROMPTS = 3


class Client:
    """Answers with tokens that depend on the prompt and the seed alone."""

    def __init__(self, broken: bool = False) -> None:
        self.broken = broken

    async def generate(
        self, request_id: str, *, prompt_ids: list[int], **kwargs: Any
    ) -> TokenOutput:
        if self.broken:
            raise RuntimeError("the server died")
        seed = kwargs["sampling_params"]["seed"]
        length = 1 + seed % 5
        return TokenOutput(
            token_ids=[3 + (seed + prompt_ids[0] + i) % 8 for i in range(length)],
            log_probs=[-0.1 * i for i in range(length)],
            extra_fields={"global_steps": 4, "min_global_steps": 4, "max_global_steps": 4},
        )


class InProcess:
    """verl's reward worker as the handle that its agent loop calls."""

    def __init__(self, config: Any, tokenizer: Any) -> None:
        self.config, self.tokenizer = config, tokenizer
        self.compute_score = self

    async def remote(self, data: Any) -> dict:
        return await load_reward_manager(self.config, self.tokenizer).run_single(data)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """The micro scale's, with its own model, untrained."""
    run = compose_run(ROOT / "recipes/gspo_moe", "micro", "gspo", 1)
    config = OmegaConf.create({k: v for k, v in run.config.items() if k != "recipe"})
    model = tmp_path_factory.mktemp("model")
    build = run.recipe.models["moe"].build
    build_model(model, build, (run.folder / build["chat_template"]).read_text(), 1)
    config.actor_rollout_ref.model.path = str(model)
    return config


@pytest.fixture
def queue(monkeypatch):
    """What is written to TransferQueue, in order: (keys, partition, fields, tags)."""
    written = []

    async def put(keys, partition_id, fields=None, tags=None):
        written.append((list(keys), partition_id, fields, tags))

    async def put_one(key, partition_id, tag):
        written.append(([key], partition_id, None, [tag]))

    monkeypatch.setattr(tq, "async_kv_batch_put", put)
    monkeypatch.setattr(tq, "async_kv_put", put_one)
    monkeypatch.setattr(tq, "init", lambda *_: None)
    return written


def batch(validate: bool = False) -> TensorDict:
    """Prompts as verl's trainer hands them over."""

    def column(values: list[Any]) -> np.ndarray:
        return np.array([*values, None], dtype=object)[:-1]  # objects, never a matrix

    rows = tu.get_tensordict(
        {
            "raw_prompt": column([[{"role": "user", "content": f"{i}"}] for i in range(PROMPTS)]),
            "uid": column([f"uid{i}" for i in range(PROMPTS)]),
            "data_source": column(["arithmetic_chain"] * PROMPTS),
            "reward_model": column([{"ground_truth": str(i)} for i in range(PROMPTS)]),
            "extra_info": column([{"index": i} for i in range(PROMPTS)]),
            "index": column(list(range(PROMPTS))),
            "dummy_tensor": torch.zeros(PROMPTS, 1, dtype=torch.uint8),
        }
    )
    tu.assign_non_tensor_data(rows, "global_steps", 4)
    if validate:
        tu.assign_non_tensor_data(rows, "validate", True)
    return rows


def restored(rows: TensorDict) -> TensorDict:
    """The same prompts as the queue gives them back to a trainer that goes on with a run."""
    columns = {
        k: AsyncSimpleStorageManager._pack_field_values([getattr(v, "data", v) for v in column])
        for k, column in rows.items()
        if not isinstance(column, NonTensorData)
    }
    assert columns["dummy_tensor"].is_nested
    found = TensorDict(columns, batch_size=len(rows))
    tu.assign_non_tensor_data(found, "global_steps", 4)
    return found


def local(
    config: Any, queue: list, validate: bool = False, broken: bool = False, rows: Any = None
) -> list:
    manager = LocalAgentLoopManager.create(config, Client(broken), None, [])
    manager.generate_sequences(batch(validate) if rows is None else rows)
    end = time.monotonic() + 60
    while not any(tags and "status" in tags[0] and fields is None for _, _, fields, tags in queue):
        assert time.monotonic() < end, "no prompt got a status"
        time.sleep(0.01)
    return queue


async def verls(config: Any, validate: bool) -> None:
    worker = AgentLoopWorkerTQ.__ray_actor_class__(config, Client(), None, None)
    worker.reward_loop_worker_handles = [InProcess(config, worker.tokenizer)]
    await worker.generate_sequences(batch(validate))
    await asyncio.gather(*worker.background_tasks)


def rows_of(queue: list) -> dict[str, tuple[str, dict, dict]]:
    """Key -> (partition, fields, tag) of all responses."""
    found = {}
    for keys, partition, fields, tags in queue:
        if fields is not None:
            for i, key in enumerate(keys):
                row = {k: column[i] for k, column in fields.items()}
                row = {k: getattr(v, "data", v) for k, v in row.items()}
                found[key] = (partition, row, tags[i])
    return found


def test_prompts_in_flight_are_answered_after_a_resume(config, queue):
    fresh = rows_of(local(config, queue))
    queue.clear()
    again = rows_of(local(config, queue, rows=restored(batch())))
    assert list(again) == list(fresh) and len(fresh) == PROMPTS * 8
    for key, (partition, fields, tag) in again.items():
        assert (partition, tag) == (fresh[key][0], fresh[key][2])
        assert fields["responses"].tolist() == fresh[key][1]["responses"].tolist()


@pytest.mark.parametrize("validate", [False, True])
def test_responses_are_those_of_verls_worker(config, queue, validate):
    ours = rows_of(local(config, queue, validate))
    queue.clear()
    asyncio.run(verls(config, validate))
    theirs = rows_of(queue)
    group = config.actor_rollout_ref.rollout.val_kwargs.n if validate else 8
    assert len(theirs) == PROMPTS * group and set(ours) == set(theirs)
    for key, (partition, fields, tag) in ours.items():
        their_partition, their_fields, their_tag = theirs[key]
        assert (partition, tag) == (their_partition, their_tag)
        assert {"rm_scores", "rollout_log_probs", "extra_fields", "num_turns"} < set(fields)
        for name, value in fields.items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, their_fields[name]), (key, name)
                assert value.dtype == their_fields[name].dtype
            else:
                assert value == their_fields[name], (key, name)
    lengths = {len(fields["responses"]) for _, fields, _ in ours.values()}
    assert len(lengths) > 1  # else nothing here would be ragged


def test_a_step_is_written_at_once_and_then_its_status(config, queue):
    local(config, queue)
    (keys, _, fields, _), (uids, _, none, tags) = queue
    assert len(keys) == fields.batch_size[0] == PROMPTS * 8
    assert uids == [f"uid{i}" for i in range(PROMPTS)] and none is None
    assert tags == [{"status": "finished"}] * PROMPTS


def test_a_failed_response_fails_the_step(config, queue):
    [(uids, partition, _, tags)] = local(config, queue, broken=True)
    assert (len(uids), partition) == (PROMPTS, "train")
    assert {tag["status"] for tag in tags} == {"failure"}


@pytest.mark.parametrize(
    ("teacher", "scorers"), [({"t": object()}, []), (None, [object()]), (None, None)]
)
def test_what_it_does_not_serve_is_refused(teacher, scorers):
    with pytest.raises(ValueError, match="set (reward.num_workers=0|distillation.enabled=False)"):
        LocalAgentLoopManager.create({}, None, teacher, scorers)
