"""One rank of the training engine: each case is a step of old log-probabilities and two updates.

Started by test_routing_replay.py with the checkpoint's path and the cases as JSON; prints a report.
"""

import functools
import json
import sys

import torch
import verl  # noqa: F401  (loads the plugin)
from tensordict import TensorDict
from verl.utils import tensordict_utils as tu
from verl.utils.distributed import initialize_global_process_group_ray
from verl.workers.config import FSDPActorConfig, PolicyLossConfig
from verl.workers.utils.losses import ppo_loss
from verl.workers.utils.padding import no_padding_2_padding

from common.plugin.routing_replay import RoutingReplayConfig
from tests.common.plugin.rank import build_engine

LENGTHS = [(3, 5), (2, 7), (4, 4), (3, 6)]  # prompt, response


def build(path, mode="disabled", measure=True, remove_padding=False, checkpointing=False, lora=0):
    return build_engine(
        path,
        0.02,
        model={
            "use_remove_padding": remove_padding,
            "enable_gradient_checkpointing": checkpointing,
            "lora_rank": lora,
            "target_modules": ["q_proj"],
        },
        engine={"router_replay": RoutingReplayConfig(mode=mode, measure=measure)},
    )


def batch(remove_padding, micro_batch, rank, ranks):
    """This rank's share of the same four responses."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    for index, (prompt, response) in enumerate(LENGTHS):
        ids = torch.randint(3, 24, (prompt + response,), generator=generator)
        rows.append(
            {
                "input_ids": ids,
                "position_ids": torch.arange(len(ids)),
                "loss_mask": (torch.arange(len(ids)) >= prompt).long(),
                "prompts": ids[:prompt],
                "responses": ids[prompt:],
                "response_mask": torch.ones(response, dtype=torch.long),
                "advantages": torch.full((response,), 1.0 if index % 2 else -1.0),
            }
        )
    rows = rows[rank * len(rows) // ranks : (rank + 1) * len(rows) // ranks]
    nested = {
        k: torch.nested.as_nested_tensor([r[k] for r in rows], layout=torch.jagged) for k in rows[0]
    }
    data = TensorDict(nested, batch_size=[len(rows)])
    tu.assign_non_tensor(
        data,
        temperature=1.0,
        use_remove_padding=remove_padding,
        use_dynamic_bsz=False,
        micro_batch_size_per_gpu=micro_batch,
        global_batch_size=len(LENGTHS),
        calculate_entropy=False,
        use_fused_kernels=False,
    )
    return data


def scrambled(routes):
    """The routes of a rollout that disagrees: each expert replaced by the next one of four.

    The last token of a response has none.
    """
    out = (routes.values() + 1) % 4
    out[routes.offsets()[1:] - 1] = 0
    return torch.nested.nested_tensor_from_jagged(out, routes.offsets())


def step(engine, data, rollout=None, updates=2):
    """What verl's workers do in one step, with its actor loss."""
    actor = FSDPActorConfig(
        strategy="fsdp2",
        rollout_n=1,
        ppo_mini_batch_size=4,
        ppo_micro_batch_size_per_gpu=4,
        loss_agg_mode="seq-mean-token-mean",
        policy_loss=PolicyLossConfig(loss_mode="grpo_token"),
        entropy_coeff=0.0,
    )
    loss = functools.partial(ppo_loss, actor)
    if rollout is not None:
        data["routed_experts"] = rollout
    with engine.eval_mode():
        old = engine.infer_batch(data)["model_output"]
    data["old_log_probs"] = _nested_response(old["log_probs"], data)
    for name in ("routed_experts", "rollout_routing_changed"):
        if name in old:
            data[name] = old[name]
    metrics, gradients = [], []
    with engine.train_mode():
        for _ in range(updates):
            engine.optimizer_zero_grad()
            output = engine.forward_backward_batch(data, loss, forward_only=False)
            gradients.append(
                {
                    n: p.grad.full_tensor().clone()
                    for n, p in engine.module.named_parameters()
                    if p.grad is not None
                }
            )
            engine.optimizer_step()
            metrics.append(
                {k: getattr(v, "values", v) for k, v in output["metrics"].items() if "pg" not in k}
            )
        engine.lr_scheduler_step()
    return {
        "old": old["log_probs"].values(),
        "routes": data.get("routed_experts", None),
        "metrics": metrics,
        "gradients": gradients,
    }


def _nested_response(values, data):
    padded = no_padding_2_padding(values, data)
    lengths = data["response_mask"].offsets().diff().tolist()
    return torch.nested.as_nested_tensor(
        [row[:n] for row, n in zip(padded, lengths, strict=True)], layout=torch.jagged
    )


def run(path, case):
    rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
    options = {k: v for k, v in case.items() if k not in ("micro_batch", "rollout")}
    engine = build(path, **options)
    padding = options.get("remove_padding", False)
    fresh = functools.partial(batch, padding, case.get("micro_batch", 4), rank, ranks)
    rollout = None
    if case.get("rollout"):
        recorder = build(path, mode="R2", remove_padding=padding)
        with recorder.eval_mode():
            found = recorder.infer_batch(fresh())["model_output"]["routed_experts"]
        rollout = found if case["rollout"] == "equal" else scrambled(found)
    return step(engine, fresh(), rollout)


def main():
    path, cases = sys.argv[1], json.loads(sys.argv[2])
    initialize_global_process_group_ray()
    found = {}
    for name, case in cases.items():
        try:
            found[name] = run(path, case)
        except ValueError as error:
            found[name] = {"error": str(error)}
    if torch.distributed.get_rank() == 0:
        torch.save(found, sys.argv[3])


if __name__ == "__main__":
    main()
