"""verl's trainer on a Ray cluster of this machine, whose first workers import while verl does.

`verl.trainer.main_ppo` starts Ray after importing verl, and hands the environment to the workers as
a Ray runtime environment; Ray then starts every process from nothing when it is asked for, and ten
imports of torch and verl follow each other. It also takes a Ray that is initialised already (0.9.1,
`run_ppo`). The workers of this one inherit the environment instead, so that those which Ray starts
in advance fit, and they preload what they will need.

Takes the arguments of `verl.trainer.main_ppo`; `ray_kwargs` come from the configuration file alone.
"""

import json
import os
import sys
from pathlib import Path

import ray

_SETTINGS = {
    "TRANSFER_QUEUE_ENABLE": "1",  # verl puts it into its runtime environment
    # So many workers start in advance: for the task runner, TransferQueue's controller and storage,
    # the task that looks for a free port, the rollout server and its load balancer. Trainer
    # processes have an environment of their own, and start when they are asked for.
    "RAY_worker_maximum_startup_concurrency": "6",
    "RAY_preload_python_modules": "transfer_queue",  # with torch: what all but one of them import
}


def main() -> None:
    os.environ.update(_SETTINGS)
    path = Path(sys.argv[sys.argv.index("--config-path") + 1], "config.yaml")
    ray.init(**json.loads(path.read_text())["ray_kwargs"]["ray_init"])  # written as JSON
    from verl.trainer.main_ppo import main as train

    train()


if __name__ == "__main__":
    main()
