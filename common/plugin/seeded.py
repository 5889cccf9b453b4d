"""What a model has beside the weights it loads is drawn from the run's seed."""

from typing import Any

import torch


class SeededInit:
    """To be mixed in before verl's engines: a critic's head and LoRA's factors are drawn from
    `fsdp_config.seed` (the critic's: `fsdp.seed`). verl 0.9.1 reads that key under
    `full_determinism` alone (workers/engine/fsdp/transformer_impl.py), so two runs of one seed had
    different ones. Every rank draws the same."""

    engine_config: Any

    def initialize(self) -> None:
        torch.manual_seed(self.engine_config.seed)
        super().initialize()  # type: ignore[misc]
