"""kill -9 in a real run, Ctrl-C in a checkpoint, and two runs at once: nothing is lost.

Before the other end-to-end tests by name; those find the cold start and two of the runs done.
"""

import pytest

from common.results.record import load
from tests.end_to_end.test_gspo_moe import SHORT, VERL_KEY, errors, steps_logged
from tests.faults.chain import Chain, Fault

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def undisturbed(checkout, tmp_path_factory):
    """The folder of a run that nobody kills; another run of this machine goes on beside it."""
    logs = [tmp_path_factory.mktemp("two") / f"{name}.txt" for name in ("killed", "beside")]
    both = [checkout.start(c, log) for c, log in zip((VERL_KEY, SHORT), logs, strict=True)]
    for running, log in zip(both, logs, strict=True):
        assert running.wait(timeout=1500) == 0, log.read_text()[-2000:]
    (run_dir,) = (checkout.path / "runs/gspo_moe/micro").glob("grpo_r2+*/seed1")
    return run_dir


def test_a_killed_run_ends_like_one_that_was_not(checkout, undisturbed):
    """The undisturbed run had company and this one has none: two runs do not disturb each other."""
    assert not checkout.left_over()
    chain = Chain(checkout, VERL_KEY, undisturbed, undisturbed)

    def second_launch():
        refused = checkout.shell(VERL_KEY, timeout=120)
        assert refused.returncode == 2
        (line,) = errors(refused.stderr)
        assert "another process" in line and "is running here" in line

    chain.kill_at(Fault("rollout", "launcher", 1), "--fresh", second_launch)
    chain.kill_at(Fault("checkpoint-optimizer", "interrupt", 2))
    chain.finish()
    assert [o.resumed for o in chain.outcomes] == [0, 1]
    for outcome in chain.outcomes:
        assert outcome.orphans == 0, chain.left
        assert outcome.weights_equal, (outcome, chain.differences)
        assert outcome.metrics_equal, (outcome, chain.differences)
    assert steps_logged(undisturbed) == [0, 1, 2]
    assert load(undisturbed / "record" / "record.json")["resumes"][-1]["step"] == 1
    assert "interrupted; nothing is lost" in chain.outcomes[1].error
