"""Loads the weights that verl sends into a transformers model.

verl names mixture-of-experts weights as the checkpoints on the hub do, one matrix per expert
(`...experts.3.gate_proj.weight`), because vLLM loads those (`unfuse_moe_params` in verl 0.9.1,
workers/engine/fsdp/utils.py). Modules of transformers 5 hold them fused: `experts.gate_up_proj`
[experts, 2 x intermediate, hidden] and `experts.down_proj` [experts, hidden, intermediate].
"""

import re
from collections import Counter
from collections.abc import Iterable

import torch

_EXPERT = re.compile(r"(.+\.experts)\.(\d+)\.(gate|up|down)_proj\.weight")


class WeightUpdate:
    """One refresh of all weights of a model, in any number of pieces and in any order."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._state = model.state_dict()
        self._written: Counter[int] = Counter()  # elements by storage: tied weights share theirs

    def write(self, named: Iterable[tuple[str, torch.Tensor]]) -> None:
        """Copy `named` tensors into the model; the model's dtype and device win.

        Raises:
            ValueError: the model has no such weight, or its shape differs.
        """
        for name, tensor in named:
            parameter, target = self._locate(name)
            if target.shape != tensor.shape:
                raise ValueError(
                    f"Weight {name} has shape {tuple(tensor.shape)}, "
                    f"but the model's has {tuple(target.shape)}."
                )
            target.copy_(tensor)
            self._written[parameter.data_ptr()] += tensor.numel()

    def finish(self) -> None:
        """Raise ValueError unless every weight of the model has been written."""
        missing = [k for k, v in self._state.items() if self._written[v.data_ptr()] < v.numel()]
        if missing:
            raise ValueError(f"The update left out {len(missing)} weights: {missing[:3]}.")

    def _locate(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """The parameter that holds weight `name`, and the view of it that is that weight."""
        if name in self._state:
            return self._state[name], self._state[name]
        if match := _EXPERT.fullmatch(name):
            experts, number, part = match[1], int(match[2]), match[3]
            fused = self._state.get(f"{experts}.{'down' if part == 'down' else 'gate_up'}_proj")
            if fused is not None and number < len(fused):
                expert = fused[number]
                return fused, expert if part == "down" else expert.chunk(2)[part == "up"]
        raise ValueError(f"The model has no weight {name}.")
