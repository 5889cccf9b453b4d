"""Routing replay on verl's FSDP2 engine, which verl 0.9.1 has for Megatron and VeOmni only.

Paper: GSPO (arXiv 2507.18071v2) §5.3. The ratio pi_theta / pi_old of a mixture of experts moves for
two reasons, other weights and other experts; replay takes the second away by giving pi_theta the
experts that were used before:

- R2: those of the training engine, recorded when it recomputes the old log-probabilities.
- R3: those of the rollout, replayed in that pass as well (arXiv 2510.11370v2). Needs
  `rollout.enable_rollout_routing_replay=true`.

The routes are the batch's field `routed_experts` [responses, (tokens), layers, top-k], the name and
layout of verl's own engines. `actor.fsdp_config.router_replay` (`RoutingReplayConfig`) configures
it, since the worker's own flag is forced off for FSDP (workers/engine_workers.py, 0.9.1).

With `measure: true`, also in mode `disabled`, each update logs (u counts a step's updates from 0;
at u = 0 the weights are those that gave the old log-probabilities):

- actor/routing_changed/update_<u>, and .../layer_<l>: share of the expert choices that the routers
  would now make otherwise, over all tokens with a route.
- actor/routing_changed/rollout, and .../layer_<l>: the same between rollout and old-log-prob pass,
  where the rollout gives its routes.
- actor/native_<statistic>, actor/replayed_<statistic> for u > 0: spread and maximum of token and
  sequence log ratios (policy_losses.ratio_statistics) of the same weights and the same old
  log-probabilities, without and with replay. Costs one forward pass more per update.
- actor/routed_experts_bytes: size of the routes of one update's responses on one rank (mean).

The choice of a router under replay is that on the states which the forced layers before it gave:
shares of replayed and of other arms are not of the same trajectory. verl takes the unweighted mean
of a share over micro-batches and ranks; with one of each, as at micro, it is exact.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from tensordict import TensorDict
from verl.utils import tensordict_utils as tu
from verl.utils.metric import AggregationType, Metric
from verl.workers.config.engine import EngineRouterReplayConfig
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead
from verl.workers.utils.padding import no_padding_2_padding

from common.plugin.engines import CPUEngineWithLMHead
from common.plugin.lora import ExactSync, MergedExport
from common.plugin.policy_losses import ratio_statistics
from common.plugin.routing import Routing, find_routers
from common.plugin.seeded import SeededInit


@dataclass
class RoutingReplayConfig(EngineRouterReplayConfig):
    """verl's `mode` (disabled, R2, R3) and whether to measure what routing does."""

    measure: bool = False


class RoutingReplay:
    """To be mixed in before `FSDPEngineWithLMHead`; does nothing unless it is configured."""

    engine_config: Any
    model_config: Any
    routing: Routing | None = None

    def _build_fsdp_module(self, module: torch.nn.Module) -> torch.nn.Module:
        """Hook the routers of `module`, then shard it.

        Raises:
            ValueError: a model without routers that we know, LoRA, or sequence parallelism.
        """
        config = self.engine_config.router_replay
        self.replay_mode = config.mode
        self.measure = bool(getattr(config, "measure", False))
        self.updates = 0  # of this step, so far
        wanted = self.replay_mode != "disabled" or (self.measure and bool(find_routers(module)))
        if wanted and not self.engine_config.forward_only:
            if self.engine_config.ulysses_sequence_parallel_size > 1:
                raise ValueError("Routing replay needs ulysses_sequence_parallel_size=1.")
            if self.model_config.lora_rank > 0:
                # the reference pass of a LoRA actor would overwrite the recorded routes
                raise ValueError("Routing replay needs model.lora_rank=0.")
            self.routing = Routing(module)
        return super()._build_fsdp_module(module)  # type: ignore[misc]

    def forward_backward_batch(
        self, data: TensorDict, loss_function: Callable | None, forward_only: bool = False
    ) -> Any:
        if self.routing is None:
            return super().forward_backward_batch(data, loss_function, forward_only)  # type: ignore[misc]
        self.records = forward_only
        try:
            return super().forward_backward_batch(data, loss_function, forward_only)  # type: ignore[misc]
        finally:
            self.routing.disarm()
            self.updates += not forward_only

    def lr_scheduler_step(self) -> Any:
        self.updates = 0  # verl calls this once a step, after its last update
        return super().lr_scheduler_step()  # type: ignore[misc]

    def forward_step(
        self, micro_batch: TensorDict, loss_function: Callable | None, forward_only: bool
    ) -> Any:
        step = super().forward_step  # type: ignore[misc]
        if self.routing is None:
            return step(micro_batch, loss_function, forward_only)
        replays = self.replay_mode == "R3" or (self.replay_mode == "R2" and not forward_only)
        measures = self.measure and not forward_only and "routed_experts" in micro_batch
        other = None
        if measures and self.updates > 0:
            self.forces = not replays
            with torch.no_grad():
                other = step(micro_batch, None, True)[1]["model_output"]["log_probs"]
        self.forces = replays
        loss, output = step(micro_batch, loss_function, forward_only)
        if measures:
            output["metrics"] |= self._changes(micro_batch)
        if other is not None:
            log_probs = output["model_output"]["log_probs"]
            native, replayed = (other, log_probs) if replays else (log_probs, other)
            output["metrics"] |= _ratios("native", native, micro_batch)
            output["metrics"] |= _ratios("replayed", replayed, micro_batch)
        return loss, output

    def prepare_model_inputs(self, micro_batch: TensorDict) -> tuple[dict, dict]:
        inputs, output_args = super().prepare_model_inputs(micro_batch)  # type: ignore[misc]
        if self.routing is not None:
            self.layout = _Layout(micro_batch, inputs["input_ids"], output_args)
            routes = micro_batch.get("routed_experts", None)
            if routes is None and self.replay_mode == "R3":
                raise ValueError(
                    "router_replay.mode=R3 got no routes from the rollout: set "
                    "actor_rollout_ref.rollout.enable_rollout_routing_replay=true."
                )
            if routes is None and self.replay_mode == "R2" and not self.records:
                raise ValueError(
                    "router_replay.mode=R2 got no routes from the pass that recomputes the old "
                    "log-probabilities: set algorithm.rollout_correction.bypass_mode=false."
                )
            targets = None if routes is None else self.layout.rows(routes)
            self.routing.arm(targets, force=self.forces)
        return inputs, output_args

    def prepare_model_outputs(
        self, output: Any, output_args: dict, micro_batch: TensorDict, logits_processor_func: Any
    ) -> dict:
        result = super().prepare_model_outputs(  # type: ignore[misc]
            output, output_args, micro_batch, logits_processor_func
        )
        if self.routing is not None and self.records:
            if self.replay_mode != "R3":
                result["routed_experts"] = self.layout.nested(self.routing.chosen())
            if self.measure and "routed_experts" in micro_batch:
                changed, has_route = self.routing.changed()
                # -1: the rollout gave no route
                changed = torch.where(has_route, changed, -1)
                result["rollout_routing_changed"] = self.layout.nested(changed)
        return result

    def _changes(self, micro_batch: TensorDict) -> dict[str, Any]:
        assert self.routing is not None
        size = micro_batch["routed_experts"].values().nbytes
        found: dict[str, Any] = {"actor/routed_experts_bytes": Metric(AggregationType.SUM, size)}
        counts = {f"update_{self.updates}": self.routing.changed()}
        if "rollout_routing_changed" in micro_batch:
            changed = micro_batch["rollout_routing_changed"].values()
            counts["rollout"] = (changed, changed >= 0)
        for name, (changed, has_route) in counts.items():
            total = has_route.sum(0).clamp(min=1) * self.routing.top_k
            shares = (changed * has_route).sum(0) / total  # [layers]
            found[f"actor/routing_changed/{name}"] = shares.mean().item()
            for layer, share in enumerate(shares.tolist()):
                found[f"actor/routing_changed/{name}/layer_{layer}"] = share
        return found


class _Layout:
    """How the tokens of a micro-batch lie in the rows that a router sees."""

    def __init__(self, micro_batch: TensorDict, input_ids: torch.Tensor, output_args: dict) -> None:
        self.offsets = micro_batch["input_ids"].offsets()
        if tu.get_non_tensor_data(micro_batch, key="use_remove_padding", default=True):
            tokens = int(self.offsets[-1])
            self.length, self.index = tokens + output_args["pad_size"], torch.arange(tokens)
        else:
            # one row of `input_ids` for each response, padded on the right
            width, lengths = input_ids.shape[1], self.offsets.diff()
            inside = torch.arange(width, device=lengths.device) < lengths.unsqueeze(-1)
            self.length, self.index = inside.numel(), inside.flatten().nonzero().squeeze(-1)
        self.index = self.index.to(input_ids.device)

    def rows(self, nested: torch.Tensor) -> torch.Tensor:
        """[responses, (tokens), ...] -> [rows, ...], zeros in the rows of padding."""
        values = nested.values()
        rows = values.new_zeros(self.length, *values.shape[1:])
        return rows.index_copy(0, self.index, values)

    def nested(self, rows: torch.Tensor) -> torch.Tensor:
        """[rows, ...] -> [responses, (tokens), ...]."""
        return torch.nested.nested_tensor_from_jagged(rows[self.index], self.offsets)


def _ratios(name: str, log_probs: torch.Tensor, micro_batch: TensorDict) -> dict[str, float]:
    """`ratio_statistics` of one pass, under its own name."""
    data = micro_batch.select("old_log_probs", "response_mask").to_padded_tensor()
    found = ratio_statistics(
        data["old_log_probs"], no_padding_2_padding(log_probs, micro_batch), data["response_mask"]
    )
    return {key.replace("actor/", f"actor/{name}_"): value for key, value in found.items()}


class CPUReplayEngine(SeededInit, RoutingReplay, MergedExport, ExactSync, CPUEngineWithLMHead):
    """The actor's engine on the device `cpu`."""


class CUDAReplayEngine(SeededInit, RoutingReplay, MergedExport, FSDPEngineWithLMHead):
    """The actor's engine on GPUs: verl's own, with replay."""
