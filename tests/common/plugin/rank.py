"""A trainer process of the tests: its environment, and the engine that verl builds in it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]


def environment(rank: int = 0, ranks: int = 1, port: int = 0) -> dict[str, str]:
    """What verl's worker group and this project set for rank `rank` of `ranks`."""
    return {
        "VERL_USE_EXTERNAL_MODULES": "common.plugin",
        "VERL_PLATFORM": "cpu",
        "PYTHONPATH": str(ROOT),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }


def printed(code: str, *arguments: object, timeout: float = 240, **process: Any) -> Any:
    """The last line that `code` prints in a Python process of its own, read as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        **process,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def build_engine(
    path: str,
    lr: float,
    kind: str = "language_model",
    model: dict[str, Any] | None = None,
    engine: dict[str, Any] | None = None,
    checkpoint: dict[str, Any] | None = None,
) -> Any:
    """The initialised FSDP2 engine of a checkpoint; `model`, `engine` and `checkpoint`: more keys
    of these."""
    import verl  # noqa: F401  (loads the plugin)
    from verl.trainer.config import CheckpointConfig
    from verl.workers.config import FSDPEngineConfig, FSDPOptimizerConfig, HFModelConfig
    from verl.workers.engine import EngineRegistry

    plain = {"use_remove_padding": False, "enable_gradient_checkpointing": False}
    built = EngineRegistry.new(
        model_type=kind,
        backend="fsdp2",
        model_config=HFModelConfig(
            path=path,
            override_config={"attn_implementation": "sdpa"},
            **(plain | (model or {})),
        ),
        engine_config=FSDPEngineConfig(
            strategy="fsdp2", use_torch_compile=False, model_dtype="fp32", **(engine or {})
        ),
        optimizer_config=FSDPOptimizerConfig(lr=lr, total_training_steps=9, clip_grad=1.0),
        checkpoint_config=CheckpointConfig(**(checkpoint or {})),
    )
    built.initialize()
    return built
