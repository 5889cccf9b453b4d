"""How the suite is shared out between two processes, and what no test may depend on."""

from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

# how long one example takes depends on what else this machine does
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")

# Files that share what takes long to make: a checkout with trained bases, composed recipes. Every
# other file is a group of its own.
TOGETHER = {
    "end_to_end/test_faults.py": "gspo_moe",
    "end_to_end/test_gspo_moe.py": "gspo_moe",
    "end_to_end/test_two_nodes.py": "gspo_moe",
    "common/test_config.py": "recipes",
    "recipes": "recipes",
}


def group(nodeid: str) -> str:
    """The group of a test, by its id: its file is below tests/."""
    name = PurePosixPath(nodeid.partition("::")[0]).relative_to("tests")
    return next((TOGETHER[str(p)] for p in (name, *name.parents) if str(p) in TOGETHER), str(name))


class Groups(LoadScopeScheduling):
    """A group's tests go to one process. (`--dist loadgroup` of xdist 3.8 does nothing in pytest
    9.2, which no longer reads the node id that it writes.)"""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups:
    return Groups(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # in one process the order of the files stays
        # what runs longest begins first
        items.sort(key=lambda item: item.get_closest_marker("end_to_end") is None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("sandbox"):
        from common.sandbox.runner import protections

        try:
            protections()
        except ValueError as error:
            pytest.skip(str(error))
