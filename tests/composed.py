"""The recipes' runs as they are, each composed once a process: Hydra needs 0.8 seconds for one."""

from functools import cache

from common.config import RunConfig, compose_run, recipe_folder

SEED = 3  # no recipe's own: one that is lost on the way shows


@cache
def composed(recipe: str, scale: str, variant: str) -> RunConfig:
    """One run without overrides. All tests share it: do not change it."""
    return compose_run(recipe_folder(recipe), scale, variant, SEED)
