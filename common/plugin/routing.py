"""Routing of a mixture of experts: the experts that each token is sent to, recorded or forced.

Forward hooks on a model's routers. A router returns (logits, scores, experts) for its rows (tokens,
batch and time flattened); the hook notes the experts, or hands on others with the scores that the
current logits give them, so that a forced router still learns.

Routes are int16 tensors [rows, layers, top-k]; `layers` counts the layers that have a router. A row
without a route (padding, or the last token of a response, which no model was fed) holds zeros, as
in verl (experimental/agent_loop/agent_loop.py, 0.9.1), and is routed as the model likes.
"""

import functools
import re
from typing import Any

import torch

# The routers of transformers 5 whose scores are softmax(logits) at the chosen experts, divided by
# their sum where `norm_topk_prob` says so (Mixtral: always).
_SOFTMAX_ROUTERS = frozenset(
    {
        "MixtralTopKRouter",
        "OlmoeTopKRouter",
        "Qwen2MoeTopKRouter",
        "Qwen3MoeTopKRouter",
        "Qwen3NextTopKRouter",
    }
)
# What other architectures call theirs; sigmoid gates, groups and biases work in other ways.
_ANY_ROUTER = re.compile(r"router|top_?k_?gat|moe_?gate", re.IGNORECASE)


class Routing:
    """The routers of one model.

    Raises:
        ValueError: a router of an unsupported architecture, or none at all.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        routers = find_routers(model)
        if not routers:
            raise ValueError(
                f"{type(model).__name__} has no experts to route: set router_replay.mode=disabled "
                "and rollout.enable_rollout_routing_replay=false."
            )
        self.layers = len(routers)
        self.top_k = int(routers[0].top_k)
        self.disarm()
        for layer, router in enumerate(routers):
            router.register_forward_hook(functools.partial(self._hook, layer))

    def arm(self, targets: torch.Tensor | None = None, force: bool = False) -> None:
        """Watch the next forward pass, and its recomputation under gradient checkpointing.

        Args:
            targets: Routes to compare with and, when `force`, to follow; [rows, layers, top-k].

        Raises:
            ValueError: routes of another number of layers or experts, or (because rows of zeros
                mark what has no route) of one expert per token.
        """
        if targets is not None:
            wanted = (self.layers, self.top_k)
            if tuple(targets.shape[1:]) != wanted:
                raise ValueError(
                    f"Routes of [layers, top-k] {list(targets.shape[1:])} do not fit a model with "
                    f"{list(wanted)}; each decoder layer needs a router, in rollout and training."
                )
            if self.top_k == 1:
                raise ValueError("Routing replay needs num_experts_per_tok of 2 or more.")
            targets = targets.long()
            distinct = targets.sort(-1).values.diff(dim=-1).ne(0).all(-1)
            self._has_route = distinct & targets.ge(0).all(-1)
        self._armed, self._targets, self._force = True, targets, force
        self._chosen: dict[int, torch.Tensor] = {}

    def disarm(self) -> None:
        """Leave the routers alone, and let go of what was recorded."""
        self._armed, self._targets, self._force = False, None, False
        self._chosen = {}

    def chosen(self) -> torch.Tensor:
        """What the routers chose by themselves in the last pass; int16 [rows, layers, top-k]."""
        return torch.stack([self._chosen[layer] for layer in range(self.layers)], dim=1)

    def changed(self) -> tuple[torch.Tensor, torch.Tensor]:
        """How many of the targets' experts the routers did not choose; int16 [rows, layers].

        Under `force` the choice of a layer is that on the states which the forced layers before it
        gave. The second result tells which rows have a target.
        """
        assert self._targets is not None
        found = self._targets.unsqueeze(-1) == self.chosen().unsqueeze(-2)
        missing = (~found.any(-1)).sum(-1, dtype=torch.int16)
        return missing * self._has_route, self._has_route

    def _hook(
        self, layer: int, router: Any, _: Any, output: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, ...] | None:
        if not self._armed:
            return None
        logits, scores, experts = output
        # a layer that was seen is being recomputed for its gradients
        if layer not in self._chosen:
            self._chosen[layer] = experts.detach().to(torch.int16)
        if not self._force:
            return None
        assert self._targets is not None
        has_route = self._has_route[:, layer].unsqueeze(-1)
        forced = torch.where(has_route, self._targets[:, layer], experts)
        # by probability, as top-k gives them: equal routes then give equal sums, bit for bit
        probabilities = logits.softmax(-1, dtype=torch.float32).gather(-1, forced)
        probabilities, order = probabilities.sort(-1, descending=True)
        if getattr(router, "norm_topk_prob", True):
            probabilities = probabilities / probabilities.sum(-1, keepdim=True)
        return logits, probabilities.to(scores.dtype), forced.gather(-1, order)


def find_routers(model: torch.nn.Module) -> list[Any]:
    """The routers of a model, first layer first; empty for a dense model.

    Raises:
        ValueError: a router whose scores we do not know how to recompute, by its name.
    """
    names = {type(module).__name__ for module in model.modules()}
    unknown = sorted(n for n in names - _SOFTMAX_ROUTERS if _ANY_ROUTER.search(n))
    if unknown:
        raise ValueError(
            f"Routing replay does not know the router {unknown[0]} (it knows "
            f"{', '.join(sorted(_SOFTMAX_ROUTERS))}): set router_replay to mode=disabled, "
            "measure=false."
        )
    return [m for m in model.modules() if type(m).__name__ in _SOFTMAX_ROUTERS]
