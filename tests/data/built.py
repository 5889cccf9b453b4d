"""What the files of a generator hold, and how they follow its seed."""

import hashlib
import json

from data.parquet import MESSAGE_COLUMNS, PROMPT_COLUMNS, read_parquet


def prompts(folder, split):
    """(prompt, ground truth) of each row of a split."""
    rows = read_parquet(folder / f"{split}.parquet", PROMPT_COLUMNS)
    return [(r["prompt"][0]["content"], r["reward_model"]["ground_truth"]) for r in rows]


def taught(folder, name):
    """(prompt, response) of each row of a file for SFT."""
    rows = read_parquet(folder / f"{name}.parquet", MESSAGE_COLUMNS)
    return [tuple(m["content"] for m in row["messages"]) for row in rows]


def content_sha256(folder):
    """Of all prompts, ground truths and responses; parquet's own bytes depend on pyarrow."""
    content = [prompts(folder, split) for split in ("train", "validation", "test")]
    content += [taught(folder, name) for name in ("sft", "sft_noisy")]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def check_seeds(build, options, folder, scratch):
    """`folder` was built from seed 1: again it has the same bytes, and another seed changes all
    files but the held-out ones."""
    build(scratch / "again", 1, **options)
    build(scratch / "other", 2, **options)
    files = sorted(path.name for path in folder.iterdir())
    for made in ("again", "other"):
        assert sorted(path.name for path in (scratch / made).iterdir()) == files
    for name in files:
        content = (folder / name).read_bytes()
        assert (scratch / "again" / name).read_bytes() == content
        same = (scratch / "other" / name).read_bytes() == content
        assert same == name.startswith(("validation", "test"))
