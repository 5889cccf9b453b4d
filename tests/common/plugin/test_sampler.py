"""GroupReplayBuffer on verl's real ReplayBuffer, with a dictionary for the TransferQueue."""

import time
from types import SimpleNamespace

import pytest
from verl.trainer.ppo.v1 import replay_buffer
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

from common.plugin.sampler import GroupReplayBuffer

PROMPTS = ["f00d-1", "0a-7", "beef-3"]  # in the order of submission, which is not the sorted one


def make(cls, **kwargs):
    return cls(
        trainer_config={},
        max_off_policy_threshold=None,
        max_off_policy_strategy="drop",
        refill_fn=None,
        **{"trainer_mode": "sync", "sampler_kwargs": {}} | kwargs,
    )


@pytest.fixture
def queue(monkeypatch):
    """Insertion order is the order of first registration, as in TransferQueue's controller."""
    store = {}
    fake = SimpleNamespace(
        kv_list=lambda: {"train": dict(store)},
        kv_clear=lambda partition_id, keys: [store.pop(k) for k in keys],
    )
    monkeypatch.setattr(replay_buffer, "tq", fake)
    return store


def submit(queue):
    for uid in PROMPTS:
        queue[uid] = {"is_prompt": True, "status": "pending", "global_steps": 1}


def reply(queue, arrival):
    for uid, sample in arrival:
        queue[f"{uid}_{sample}_0"] = {"status": "success", "name": (uid, sample)}
    for uid in PROMPTS:
        queue[uid] = queue[uid] | {"status": "finished"}


ARRIVALS = [
    [(uid, n) for n in (10, 2, 0) for uid in PROMPTS[::-1]],
    [(uid, n) for uid in sorted(PROMPTS) for n in (0, 10, 2)],
]


@pytest.mark.parametrize("arrival", ARRIVALS)
def test_order_is_that_of_submission(queue, arrival):
    submit(queue)
    reply(queue, arrival)
    batch, metrics = make(GroupReplayBuffer).sample(1, "train", 3)
    assert batch.keys == [f"{uid}_{n}_0" for uid in PROMPTS for n in (0, 2, 10)]
    assert [tag["name"] for tag in batch.tags] == [(uid, n) for uid in PROMPTS for n in (0, 2, 10)]
    assert batch.partition_id == "train"
    assert metrics == {}
    assert not set(PROMPTS) & queue.keys()  # taken: the next step does not see these prompts


def test_verls_own_order_is_that_of_arrival(queue):
    """The reason for our order; should verl fix one, this test says so."""
    orders = []
    for arrival in ARRIVALS:
        queue.clear()
        submit(queue)
        reply(queue, arrival)
        orders.append(make(ReplayBuffer).sample(1, "train", 3)[0].keys)
    assert orders[0] != orders[1]


@pytest.mark.parametrize("replies", [[], ARRIVALS[0]], ids=["all failed", "one failed"])
def test_a_failed_response_ends_the_run_and_verl_would_train_on_the_rest(queue, replies):
    submit(queue)
    reply(queue, replies)
    queue[PROMPTS[1]] = queue[PROMPTS[1]] | {"status": "failure"}
    with pytest.raises(RuntimeError, match=r"1 prompts \(train\) have a response that could not"):
        make(GroupReplayBuffer).sample(1, "train", 3)
    if replies:
        del queue[f"{PROMPTS[1]}_2_0"]
        assert len(make(ReplayBuffer).sample(1, "train", 3)[0].keys) == 8


def test_polling(queue, monkeypatch):
    naps = []

    def sleep(seconds):
        naps.append(seconds)
        if len(naps) == 3:
            reply(queue, ARRIVALS[0])

    monkeypatch.setattr(time, "sleep", sleep)
    for kwargs, expected in (({}, 0.05), ({"poll_interval": 0.2}, 0.2)):
        submit(queue)
        naps.clear()
        batch, _ = make(GroupReplayBuffer, sampler_kwargs=kwargs).sample(1, "train", 3)
        assert len(batch.keys) == 9
        assert naps == [expected] * 3
        queue.clear()


@pytest.mark.parametrize("kwargs", [{"poll_intervall": 1}, {"poll_interval": 0}])
def test_bad_options_are_refused(kwargs):
    with pytest.raises(ValueError, match="takes poll_interval"):
        make(GroupReplayBuffer, sampler_kwargs=kwargs)


def test_asynchronous_trainers_are_refused():
    with pytest.raises(ValueError, match="needs trainer.v1.trainer_mode=sync; for separate_async"):
        make(GroupReplayBuffer, trainer_mode="separate_async")
