"""How the suite is shared out between two processes, and what no test may depend on."""

from pathlib import Path

import pytest
from hypothesis import settings

# how long one example takes depends on what else this machine does
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")

TESTS = Path(__file__).parent
# Files that share what takes long to make: a checkout with trained bases, composed recipes. Every
# other file is a group of its own.
TOGETHER = {
    "end_to_end/test_faults.py": "gspo_moe",
    "end_to_end/test_gspo_moe.py": "gspo_moe",
    "end_to_end/test_two_nodes.py": "gspo_moe",
    "common/test_config.py": "recipes",
    "recipes": "recipes",
}


def group(path: Path) -> str:
    name = path.relative_to(TESTS)
    return next((TOGETHER[str(p)] for p in (name, *name.parents) if str(p) in TOGETHER), str(name))


@pytest.hookimpl(tryfirst=True)  # xdist reads the marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not hasattr(config, "workerinput"):  # one process: the order of the files
        return
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group(item.path)))
    # what runs longest begins first
    items.sort(key=lambda item: item.get_closest_marker("end_to_end") is None)
