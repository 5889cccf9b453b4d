"""The line of each step, from a metrics file that grows."""

import json

from common.stages import progress


def test_new_whole_lines_are_shown_once(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(progress, "say", shown.append)
    path = tmp_path / "metrics.jsonl"
    columns = {"reward": "critic/score/mean", "absent": "x"}
    follower = progress.Follower("train gspo", path, 4, columns, every=2)
    follower.poll()
    assert not shown

    def text(step, **data):
        return json.dumps({"step": step, "data": data}) + "\n"

    core = {"val-core/chain/acc/mean@2": 0.4}
    first, second = text(0, **core), text(1, **{"critic/score/mean": 0.25})
    with path.open("w") as file:
        file.write(first + second[:10])
        file.flush()
        follower.poll()
        assert shown == ["train gspo: step 0/4  validation 0.400"]
        file.write(second[10:])
        file.flush()
        follower.poll()
        follower.poll()
        for step in (2, 3, 4):
            file.write(text(step, **{"critic/score/mean": step / 10}))
    follower.poll()
    assert shown[1:] == [
        "train gspo: step 1/4  reward 0.25",
        "train gspo: step 2/4  reward 0.2",
        "train gspo: step 4/4  reward 0.4",
    ]
