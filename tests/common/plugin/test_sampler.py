"""GroupReplayBuffer on verl's real ReplayBuffer, with a dictionary for the TransferQueue."""

import math
import time
from types import SimpleNamespace

import pytest
import torch
from tensordict import NonTensorStack, TensorDict
from verl.trainer.ppo.v1 import replay_buffer
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

from common.plugin import sampler
from common.plugin.sampler import AsyncGroupReplayBuffer, GroupReplayBuffer

PROMPTS = ["f00d-1", "0a-7", "beef-3"]  # in the order of submission, which is not the sorted one
# the score of each response: all right, none right, one of three right
SCORES = {
    "f00d-1": {0: 1, 2: 2, 10: 1},
    "0a-7": {0: 0, 2: -1, 10: 0},
    "beef-3": {0: 0, 2: 1, 10: 0},
}


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
    fake.kv_batch_get = lambda keys, partition_id, select_fields: {
        "rm_scores": scores(keys),
        # of the type that a TensorDict gives
        "extra_fields": TensorDict(
            {"extra_fields": NonTensorStack(*({"reward_extra_info": info(key)} for key in keys))},
            batch_size=len(keys),
        )["extra_fields"],
    }
    monkeypatch.setattr(sampler, "tq", fake)
    return store


def scores(keys):
    """The reward stands on the last token, as verl writes it."""
    parts = [key.split("_") for key in keys]
    return [torch.tensor([0.0, SCORES[uid][int(sample)]]) for uid, sample, _ in parts]


def info(key):
    """What the reward function returned: one response of the first prompt had no verdict, and the
    second prompt's source has no such metric as `format`."""
    return {
        "score": 7.0,
        "ungradable": float(key == "f00d-1_2_0"),
        "format": math.nan if key.startswith("0a-7") else 0.5,
        "acc": None,  # of a reward model's source
    }


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
    assert metrics == {
        "group/score": pytest.approx(4 / 9),
        "group/ungradable": pytest.approx(1 / 9),
        "group/format": 0.5,
        "group/correct": pytest.approx(4 / 9),
        "group/all_correct": pytest.approx(1 / 3),
        "group/none_correct": pytest.approx(1 / 3),
        "group/kept": 1.0,
        "group/samples": 9,
        "group/spread": pytest.approx((0.4714 * 3) / 3, abs=1e-4),
        "group/zero_spread": 0.0,
    }
    assert not set(PROMPTS) & queue.keys()  # taken: the next step does not see these prompts


@pytest.mark.parametrize(
    ("correct", "incorrect", "kept"),
    [
        (1, 0, ["f00d-1_0_0", "f00d-1_2_0", "f00d-1_10_0", "beef-3_2_0"]),
        (0, 1, ["0a-7_0_0", "0a-7_2_0", "0a-7_10_0", "beef-3_0_0", "beef-3_10_0"]),
    ],
    ids=["PSR", "NSR"],
)
def test_responses_of_weight_0_are_left_out(queue, correct, incorrect, kept):
    submit(queue)
    reply(queue, ARRIVALS[0])
    weights = {"correct": correct, "incorrect": incorrect}
    buffer = make(GroupReplayBuffer, sampler_kwargs={"sign_weights": weights})
    batch, metrics = buffer.sample(1, "train", 3)
    assert batch.keys == kept and len(batch.tags) == len(kept)
    assert set(queue) == set(kept)  # the others are gone from the queue as well
    assert metrics["group/kept"] == pytest.approx(len(kept) / 9)
    assert metrics["group/score"] == pytest.approx(4 / 9)  # of all that were sampled


def test_the_samplers_entropy_is_over_all_tokens_that_were_sampled(queue, monkeypatch):
    get = sampler.tq.kv_batch_get

    def with_log_probs(keys, partition_id, select_fields):
        assert {"rollout_log_probs", "response_mask"} <= set(select_fields)
        lengths = [1 + (key.endswith("_2_0")) for key in keys]  # of every third response: two
        return get(keys, partition_id, select_fields) | {
            "rollout_log_probs": [torch.tensor([-1.0, -3.0, -50.0]) for _ in keys],
            "response_mask": [torch.tensor([1, n - 1, 0]) for n in lengths],
        }

    monkeypatch.setattr(sampler.tq, "kv_batch_get", with_log_probs)
    submit(queue)
    reply(queue, ARRIVALS[0])
    kept = {"sign_weights": {"correct": 1, "incorrect": 0}}
    _, metrics = make(GroupReplayBuffer, sampler_kwargs=kept).sample(1, "train", 3)
    assert metrics["group/entropy"] == pytest.approx((9 * 1 + 3 * 3) / 12)


def test_one_response_without_gradient_stays_when_none_has_any(queue, monkeypatch):
    monkeypatch.setitem(SCORES, "f00d-1", dict.fromkeys((0, 2, 10), 0))
    monkeypatch.setitem(SCORES, "beef-3", dict.fromkeys((0, 2, 10), 0))
    submit(queue)
    reply(queue, ARRIVALS[0])
    weights = {"correct": 1, "incorrect": 0}
    batch, metrics = make(GroupReplayBuffer, sampler_kwargs={"sign_weights": weights}).sample(
        1, "train", 3
    )
    assert batch.keys == ["f00d-1_0_0"] and metrics["group/none_correct"] == 1.0


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


def test_a_sampler_of_the_other_kind_of_trainer_is_refused():
    with pytest.raises(ValueError, match="separate_async.*name=AsyncGroupReplayBuffer"):
        make(GroupReplayBuffer, trainer_mode="separate_async")
    with pytest.raises(ValueError, match="trainer_mode=sync.*name=GroupReplayBuffer"):
        make(AsyncGroupReplayBuffer)


@pytest.mark.parametrize(
    ("cls", "mode"), [(GroupReplayBuffer, "sync"), (AsyncGroupReplayBuffer, "separate_async")]
)
def test_a_selection_keeps_rows_and_writes_their_normalised_rewards(queue, monkeypatch, cls, mode):
    get, written = sampler.tq.kv_batch_get, {}
    sources = {"f00d-1": "general", "0a-7": "kbqa", "beef-3": "general"}

    def with_sources(keys, partition_id, select_fields):
        assert "data_source" in select_fields
        found = [sources[key.rsplit("_", 2)[0]] for key in keys]
        return get(keys, partition_id, select_fields) | {"data_source": found}

    def put(keys, partition_id, fields):
        rows = fields["rm_scores"].unbind()
        written.update(zip(keys, (row.tolist() for row in rows), strict=True))

    monkeypatch.setattr(sampler.tq, "kv_batch_get", with_sources)
    monkeypatch.setattr(sampler.tq, "kv_batch_put", put, raising=False)
    submit(queue)
    reply(queue, ARRIVALS[0])
    chosen = {"rule": "extremes", "lowest": 1, "highest": 1, "normalise": "before"}
    buffer = make(cls, trainer_mode=mode, sampler_kwargs={"selection": chosen})
    batch, metrics = buffer.sample(1, "train", 3)
    # scores 1, 2, 1; 0, -1, 0; 0, 1, 0 of the samples 0, 2, 10
    kept = {"f00d-1": (0, 2), "0a-7": (2, 10), "beef-3": (0, 2)}
    assert batch.keys == [f"{uid}_{n}_0" for uid in PROMPTS for n in kept[uid]]
    assert set(queue) == set(batch.keys)
    low, high = -0.57735, 1.154701  # (1 - 4/3) and (2 - 4/3), over the deviation 0.57735
    expected = {"f00d-1": (low, high), "0a-7": (-high, -low), "beef-3": (low, high)}
    for uid, rewards in expected.items():
        rows = [written[f"{uid}_{n}_0"] for n in kept[uid]]
        assert [row[-1] for row in rows] == pytest.approx(rewards, abs=1e-5)
        assert all(value == 0 for row in rows for value in row[:-1])
    assert metrics["group/score"] == pytest.approx(4 / 9)  # as they were, of all
    assert metrics["group/kept"] == pytest.approx(6 / 9)
    assert metrics["group/kept_score"] == pytest.approx(3 / 6)
    assert metrics["group/kept_spread"] == pytest.approx(0.5)
    assert metrics["group/general/score"] == pytest.approx(5 / 6)
    assert metrics["group/kbqa/score"] == pytest.approx(-1 / 3)
    assert metrics["group/kbqa/spread"] == pytest.approx(0.4714, abs=1e-4)


def test_a_selection_beside_sign_weights_is_refused():
    both = {"selection": {"rule": "all", "normalise": "before"}, "sign_weights": {"correct": 1}}
    with pytest.raises(ValueError, match="takes correct and incorrect"):
        make(GroupReplayBuffer, sampler_kwargs=both)
    both["sign_weights"]["incorrect"] = 1
    with pytest.raises(ValueError, match="both leave rows out"):
        make(GroupReplayBuffer, sampler_kwargs=both)


def test_a_failed_response_ends_an_asynchronous_run_too(queue):
    submit(queue)
    reply(queue, ARRIVALS[0])
    queue[PROMPTS[1]] = queue[PROMPTS[1]] | {"status": "failure"}
    with pytest.raises(RuntimeError, match=r"1 prompts \(train\) have a response that could not"):
        make(AsyncGroupReplayBuffer, trainer_mode="separate_async").sample(1, "train", 3)


RESPONSES = {  # of each prompt, by number: the gold is 18
    "f00d-1": {0: "18", 2: "18", 10: "17"},  # the group votes 18
    "0a-7": {0: "19", 2: "19", 10: "18"},  # 19: off by one
    "beef-3": {0: "18", 2: "18", 10: "18"},  # all agree
}


@pytest.fixture
def texts(queue, monkeypatch):
    """The queue with responses, two of them without a closing tag, and what is written to it."""
    get, written = sampler.tq.kv_batch_get, {}

    def response(key):
        uid, sample, _ = key.rsplit("_", 2)
        end = "answer" if (uid, sample) in (("f00d-1", "10"), ("beef-3", "0")) else "/answer"
        return f"<reasoning>r</reasoning>\n<answer>{RESPONSES[uid][int(sample)]}<{end}>"

    def with_texts(keys, partition_id, select_fields):
        assert {"responses", "reward_model"} <= set(select_fields)
        return get(keys, partition_id, select_fields) | {
            "responses": [response(key) for key in keys],
            "reward_model": [{"ground_truth": "18"} for _ in keys],
            "rollout_log_probs": [
                torch.tensor([-2.0 if key.endswith("_10_0") else 0.0, -99.0]) for key in keys
            ],
            "response_mask": [torch.tensor([1, 0]) for _ in keys],
        }

    def put(keys, partition_id, fields):
        rows = fields["rm_scores"].unbind()
        written.update(zip(keys, (row.tolist() for row in rows), strict=True))

    monkeypatch.setattr(sampler.tq, "kv_batch_get", with_texts)
    monkeypatch.setattr(sampler.tq, "kv_batch_put", put, raising=False)
    decoder = SimpleNamespace(decode=lambda tokens, skip_special_tokens: tokens)
    monkeypatch.setattr(sampler, "hf_tokenizer", lambda path: decoder)
    submit(queue)
    reply(queue, ARRIVALS[0])
    return written


def vote(**options):
    kwargs = {"group_reward": {"rule": "vote"} | options, "tokenizer": "model"}
    return make(GroupReplayBuffer, sampler_kwargs=kwargs).sample(1, "train", 3)


def totals(written):
    """By prompt, the scores of its responses 0, 2 and 10, each on the last token."""
    assert all(row[:-1] == [0.0] * (len(row) - 1) for row in written.values())
    return {uid: [written[f"{uid}_{n}_0"][-1] for n in (0, 2, 10)] for uid in PROMPTS}


def test_one_vote_for_the_group_leaves_the_format_alone_to_tell_responses_apart(texts):
    batch, metrics = vote()
    # without a closing tag there is no answer, so no vote: a group of three has two voters
    assert totals(texts) == {"f00d-1": [3, 3, 2], "0a-7": [2, 2, 2], "beef-3": [2, 3, 3]}
    assert batch.keys == [f"{uid}_{n}_0" for uid in PROMPTS for n in (0, 2, 10)]
    assert metrics["group/correctness_zero_spread"] == 1.0
    assert metrics["group/correctness_spread"] == 0.0
    assert metrics["group/zero_spread"] == pytest.approx(1 / 3)
    assert metrics["group/spread"] == pytest.approx(2 / 3 * math.sqrt(2) / 3)
    assert metrics["group/score"] == pytest.approx(22 / 9)
    assert metrics["group/correctness"] == pytest.approx(5 / 3)
    assert metrics["group/format"] == pytest.approx(7 / 9)


def test_a_vote_as_a_bonus_keeps_them_apart(texts):
    _, metrics = vote(rule="bonus", bonus=0.5)
    assert totals(texts) == {
        "f00d-1": [3.5, 3.5, 0],  # the last one has neither answer nor format
        "0a-7": [2.5, 2.5, 3],
        "beef-3": [0, 3.5, 3.5],
    }
    assert metrics["group/correctness_zero_spread"] == 0.0 == metrics["group/zero_spread"]


@pytest.mark.parametrize(("confidence", "paid"), [(False, 2), (True, 3)])
def test_a_vote_may_weigh_the_mean_probability_of_its_tokens(texts, confidence, paid, monkeypatch):
    # two of three say 19 and one 18, whose tokens are seven times as likely
    monkeypatch.setattr(sampler, "_confidence", lambda fields, group: [0.1, 0.1, 0.7])
    vote(confidence=confidence)
    assert totals(texts)["0a-7"] == [paid] * 3


def test_confidence_is_over_a_responses_own_tokens():
    fields = {
        "rollout_log_probs": [torch.tensor([0.0, -math.log(2), -99.0])],
        "response_mask": [torch.tensor([1, 1, 0])],
    }
    assert sampler._confidence(fields, [0]) == [pytest.approx(0.75)]


def test_a_gold_that_is_no_number_pays_format_alone(texts, monkeypatch):
    get = sampler.tq.kv_batch_get
    monkeypatch.setattr(
        sampler.tq,
        "kv_batch_get",
        lambda **kwargs: (
            get(**kwargs) | {"reward_model": [{"ground_truth": "x"} for _ in kwargs["keys"]]}
        ),
    )
    vote()
    assert totals(texts) == {"f00d-1": [1, 1, 0], "0a-7": [1, 1, 1], "beef-3": [0, 1, 1]}


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"rule": "majority"}, "rule: 'majority'"),
        ({"bonus": 0.5}, "bonus=0.5"),
        ({"ties": "last"}, "ties"),
        ({"min_shares": 0.5}, "min_shares: unknown key; did you mean min_share?"),
    ],
)
def test_bad_group_rewards_are_refused(options, word):
    with pytest.raises(ValueError, match=f"group_reward.*{word}"):
        vote(**options)
