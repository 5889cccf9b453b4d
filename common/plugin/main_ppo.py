"""verl's trainer on a Ray cluster of this machine, some of whose workers are warm when it starts.

`verl.trainer.main_ppo` starts Ray after importing verl, and hands the environment to the workers as
a Ray runtime environment; Ray then starts every process from nothing when it is asked for, and ten
imports of torch and verl follow each other. It also takes a Ray that is initialised already (0.9.1,
`run_ppo`). The workers of this one inherit the environment instead, so that Ray gives idle ones to
new actors, and the first of them import while this process does.

Takes the arguments of `verl.trainer.main_ppo`; `ray_kwargs` come from the configuration file alone.
"""

import importlib
import json
import os
import sys
from pathlib import Path

import ray

# The actors that are wanted first, and what all of them import: the task runner and TransferQueue's
# controller and storage.
_WARM, _MODULE = 3, "transfer_queue"


@ray.remote
def warm_up() -> None:
    """Leave behind an idle worker that has imported what it will need."""
    importlib.import_module(_MODULE)


def main() -> None:
    os.environ["TRANSFER_QUEUE_ENABLE"] = "1"  # verl puts it into its runtime environment
    path = Path(sys.argv[sys.argv.index("--config-path") + 1], "config.yaml")
    ray.init(**json.loads(path.read_text())["ray_kwargs"]["ray_init"])  # written as JSON
    warm = [warm_up.remote() for _ in range(_WARM)]
    from verl.trainer.main_ppo import main as train

    ray.get(warm)
    train()


if __name__ == "__main__":
    main()
