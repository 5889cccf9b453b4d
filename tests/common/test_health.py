"""The signs of an unhealthy training, on series made by hand."""

import json

import pytest

from common import health
from common.health import HEALTHY, NOT_LOGGED, TOO_FEW, WARNED, Limit, Watch, signs
from common.stages import progress

STEPS, LONGEST = 60, 100
FINE = {  # what a healthy run logs
    "actor/kl_loss": 0.05,
    "actor/grad_norm": 0.5,
    "actor/loss": 0.01,
    "val-core/chain/acc/mean@1": 0.6,
    "group/correct": 0.6,
    "actor/entropy": 0.4,
    "response_length/clip_ratio": 0.1,
    "response_length/max": float(LONGEST),
    "group/zero_spread": 0.3,
}
NAN = float("nan")


def watched(changed, longest=LONGEST, steps=STEPS):
    """The watch and the lines after a run with `changed` in the place of some of its values."""
    watch, lines = Watch(longest), []
    for step in range(steps):
        new = {name: value(step) for name, value in changed.items()}
        lines += watch.see(step, {k: v for k, v in (FINE | new).items() if v is not None})
    return watch, lines


def from_step(start, value, before):
    return lambda step: value if step >= start else before


@pytest.mark.parametrize(
    ("sign", "metric", "series", "first"),
    [
        ("kl_spike", "actor/kl_loss", from_step(40, 0.3, 0.05), 40),
        ("kl_spike", "actor/kl_loss", from_step(40, 11.0, 9.0), 0),  # and never healthy before
        ("gradient_explosion", "actor/grad_norm", from_step(30, 5.5, 0.5), 30),
        ("gradient_explosion", "actor/grad_norm", lambda step: NAN if step == 7 else 0.5, 7),
        ("gradient_explosion", "actor/loss", from_step(3, float("inf"), 0.01), 3),
        ("collapse", "val-core/chain/acc/mean@1", from_step(20, 0.2, 0.6), 20),
        # the mean of five falls below half of the best in the fourth step
        ("collapse", "group/correct", from_step(20, 0.12, 0.6), 23),
        ("entropy", "actor/entropy", from_step(20, 0.01, 0.4), 24),
        ("entropy", "actor/entropy", from_step(20, 1.7, 0.4), 23),
        ("clipped_length", "response_length/clip_ratio", from_step(20, 0.3, 0.1), 24),
        ("zero_spread", "group/zero_spread", from_step(20, 0.8, 0.1), 24),
    ],
)
def test_a_sign_is_said_once_at_its_first_step(sign, metric, series, first):
    watch, lines = watched({metric: series})
    (line,) = lines
    assert line.startswith(f"{sign} at step {first}: {metric.replace('clip_ratio', 'clipped')} ")
    assert "(article); " in line or "(ours); " in line
    assert len(line.partition("); ")[2]) > 30 and "\n" not in line
    found = watch.summary()
    assert found[sign].state == WARNED and found[sign].logged == STEPS
    assert min(w.first for w in found[sign].warnings) == first
    assert {h.state for name, h in found.items() if name != sign} == {HEALTHY}


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"actor/kl_loss": lambda step: 0.19 * step / STEPS},  # a small one may grow
        {"actor/grad_norm": from_step(30, 0.9, 0.05)},  # below what is clipped
        {"actor/grad_norm": lambda step: 6.0 if step < 9 else 0.5},  # nothing to compare with yet
        {"group/correct": from_step(20, 0.03, 0.08)},  # was never any good
        {"response_length/clip_ratio": lambda step: 0.3 if step % 5 else 0.1},  # not running
        # verl's clip_ratio: all as long as the longest of the step, which is not the limit
        {"response_length/clip_ratio": lambda _: 1.0, "response_length/max": lambda _: 25.0},
    ],
)
def test_a_healthy_run_says_nothing(changed):
    watch, lines = watched(changed)
    assert not lines
    assert {h.state for h in watch.summary().values()} == {HEALTHY}


def test_what_is_not_logged_or_too_short_is_not_healthy():
    found = watched({name: lambda _: None for name in FINE if name != "actor/entropy"}, steps=9)[0]
    states = {name: h.state for name, h in found.summary().items()}
    assert states.pop("entropy") == TOO_FEW
    assert set(states.values()) == {NOT_LOGGED}
    # without the longest response or the limit nobody knows what was cut
    for unknown in (watched({"response_length/max": lambda _: None}), watched({}, longest=None)):
        assert unknown[0].summary()["clipped_length"].state == NOT_LOGGED


def test_old_records_have_the_share_of_groups_from_two_others():
    parts = {"group/all_correct": lambda _: 0.5, "group/none_correct": lambda _: 0.4}
    _, lines = watched({"group/zero_spread": lambda _: None} | parts)
    assert lines[0].startswith("zero_spread at step 4: group/all_or_none_correct 0.9 ")
    _, lines = watched(parts)  # where the spread itself is logged it counts
    assert not lines


def test_every_limit_has_its_source_and_a_mend():
    for name, sign in signs().items():
        assert all(x.mend or sign.mend for x in sign.limits), name
        assert sign.about and {x.source for x in sign.limits} <= {"article", "ours"}
    assert isinstance(signs()["kl_spike"].limits[0], Limit)


def test_a_record_is_judged_by_its_curves_and_its_own_summary():
    config = {"data": {"max_response_length": LONGEST}}
    curves = {"steps": list(range(STEPS)), "metrics": {k: [v] * STEPS for k, v in FINE.items()}}
    curves["metrics"]["actor/grad_norm"] = [0.5] * 30 + [None] * 30
    record = {"config": config, "curves": curves}
    assert health.of_record(record)["gradient_explosion"].state == HEALTHY
    watch, _ = watched({"actor/grad_norm": from_step(30, NAN, 0.5)})
    record["health"] = json.loads(json.dumps(health.as_json(watch.summary()), allow_nan=False))
    (warning,) = health.of_record(record)["gradient_explosion"].warnings
    assert (warning.first, warning.steps, warning.worst) == (30, 30, None)


def test_the_follower_warns_of_a_null_and_stays_silent_after_a_resume(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(progress, "say", said.append)
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "data": {"actor/grad_norm": null}}\n')  # verl's NaN
    columns = {"grad": "actor/grad_norm"}
    first = progress.Follower("train x", path, 9, columns)
    first.poll()
    assert said[0] == "train x: step 1/9  grad nan"
    assert said[1].startswith("warning: train x: gradient_explosion at step 1: actor/grad_norm nan")
    del said[:]
    progress.Follower("train x", path, 9, columns, health=first.health).poll()
    assert len(said) == 1
