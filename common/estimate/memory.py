"""Memory of a run, per GPU and per host, in its two phases, and the disk it fills.

Formulas (P parameters, R ranks, T tokens of a micro-batch on one rank, L layers, h hidden size,
V vocabulary, tp tensor-parallel size of the sampler); bytes, everything else is named below:

    weights     4 P / R     fp32, sharded over all ranks (FSDP2; VeOmni trains fp32 under bf16)
    gradients   4 P / R
    optimizer   8 P / R     two moments of AdamW in fp32
    gathered    2 (2 layers + embeddings) in bf16: the layer at work, the one fetched ahead, and
                the root's matrices; and as much again for their gradients
    activations 2 T (L h + c)   each layer's input (gradient checkpointing) and one layer's c values
    logits      V x 4 x 3 x (T, or 1024 at a time with fused kernels): logits, softmax, gradient
    KV cache    what vLLM may use beside 2 P / tp of bf16 weights

`ours`, assumed: 4 GiB of a GPU for CUDA, NCCL and the sleeping sampler, 4 GiB for fragmentation,
4 GiB of host memory for each process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from common.config import RunConfig
from common.estimate.dimensions import Dimensions
from common.rewards.selection import KEY, Selection
from common.schema import build

GIB = 2**30
RUNTIME = 4 * GIB  # of a GPU: CUDA contexts, NCCL buffers, what vLLM keeps when asleep
FRAGMENTS = 4 * GIB  # of a GPU, while training
PROCESS = 4 * GIB  # of the host, each process
CHUNK = 1024  # tokens of VeOmni's chunked log-probabilities (0.1.12, ops/kernels/cross_entropy)
ROUTE = 2  # bytes of an expert's number in the replay's record (int16)
FIELDS = 40  # bytes of a token in TransferQueue: ids, masks, log-probabilities, advantages


@dataclass(frozen=True)
class Setting:
    """The keys of a run that memory and time depend on. Tokens are of one prompt + response."""

    ranks: int
    gpus: int
    prompts: int
    samples: int
    prompt: int
    response: int
    tokens_per_rank: int
    tensor_parallel: int
    utilization: float
    max_num_seqs: int
    param_offload: bool
    optimizer_offload: bool
    checkpointing: bool
    fused: bool
    replay: bool
    kept_checkpoints: int
    samplers: int  # GPUs that only sample; 0 where the trainer's do
    kept: float  # share of the sampled responses that goes to the update
    epochs: int

    @property
    def sequences(self) -> int:
        return self.prompts * self.samples


def setting(run: RunConfig) -> Setting:
    """Read a composed configuration (engines fsdp2 and veomni)."""
    actor, rollout = run.get("actor_rollout_ref.actor"), run.get("actor_rollout_ref.rollout")
    engine = actor["veomni" if actor["strategy"] == "veomni" else "fsdp_config"]
    model = run.get("actor_rollout_ref.model")
    prompt, response = run.get("data.max_prompt_length"), run.get("data.max_response_length")
    tokens = actor["ppo_max_token_len_per_gpu"]
    if not actor["use_dynamic_bsz"]:
        tokens = actor["ppo_micro_batch_size_per_gpu"] * (prompt + response) // ulysses(engine)
    return Setting(
        ranks=run.ranks,
        gpus=run.recipe.gpus,
        prompts=run.get("data.train_batch_size"),
        samples=rollout["n"],
        prompt=prompt,
        response=response,
        tokens_per_rank=tokens,
        tensor_parallel=rollout["tensor_model_parallel_size"],
        utilization=rollout["gpu_memory_utilization"],
        max_num_seqs=rollout["max_num_seqs"],
        param_offload=engine["param_offload"],
        optimizer_offload=engine["optimizer_offload"],
        checkpointing=model["enable_gradient_checkpointing"],
        fused=model["use_fused_kernels"],
        replay=run.recipe.routing_replay != "disabled",
        kept_checkpoints=run.get("trainer.max_actor_ckpt_to_keep") or 1,
        samplers=run.samplers,
        kept=kept_share(run),
        epochs=actor["ppo_epochs"],
    )


def kept_share(run: RunConfig) -> float:
    """Of the sampled responses, those that a selection leaves for the update."""
    chosen = (run.get("trainer.v1.sampler.sampler_kwargs") or {}).get("selection")
    samples = run.get("actor_rollout_ref.rollout.n")
    selected = build(Selection, chosen, KEY).kept_of(samples) if chosen else samples
    return float(selected / samples)


def ulysses(engine: dict[str, Any]) -> int:
    """The sequence-parallel size, which the engines spell differently."""
    name = "ulysses_parallel_size"
    return int(engine[name] if name in engine else engine["ulysses_sequence_parallel_size"])


def update_phase(d: Dimensions, s: Setting) -> dict[str, float]:
    """Bytes of one GPU while the policy is updated; the sampler sleeps, all is on the GPU."""
    total, tokens = d.parameters(), s.tokens_per_rank
    layer = (total - d.embeddings) / d.layers
    one_layer = 8 * d.hidden + 2 * (d.heads + 2 * d.kv_heads) * d.head_dim
    width = d.expert_width if d.sparse_layers else d.dense_width
    one_layer += max(1, d.active_experts) * (4 * width + 2 * d.hidden)
    saved = d.layers * d.hidden if s.checkpointing else d.layers * one_layer
    return {
        "weights": 4 * total / s.ranks,
        "gradients": 4 * total / s.ranks,
        "optimizer": 8 * total / s.ranks,
        "gathered": 2 * 2 * (2 * layer + d.embeddings),
        "activations": 2 * tokens * (saved + one_layer),
        "logits": 3 * 4 * d.vocabulary * (min(CHUNK, tokens) if s.fused else tokens),
        "runtime": RUNTIME + FRAGMENTS,
    }


def rollout_phase(d: Dimensions, s: Setting, capacity: float) -> dict[str, float]:
    """Bytes of one GPU of `capacity` bytes while responses are sampled."""
    trainer = 0.0 if s.param_offload else 4 * d.parameters() / s.ranks
    trainer += 0.0 if s.optimizer_offload else 8 * d.parameters() / s.ranks
    trainer = 0.0 if s.samplers else trainer  # on other GPUs
    weights = 2 * d.parameters() / s.tensor_parallel
    return {
        "weights": weights,
        "KV cache": kv_cache(d, s, capacity),
        "trainer": trainer,
        "runtime": RUNTIME,
    }


def reference(d: Dimensions, s: Setting) -> float:
    """Bytes of one GPU that a reference model in the trainer takes: its fp32 weights, sharded."""
    return 4 * d.parameters() / s.ranks


def kv_cache(d: Dimensions, s: Setting, capacity: float) -> float:
    """Bytes of one GPU that vLLM has for keys and values; negative when its share is too small."""
    return s.utilization * capacity - 2 * d.parameters() / s.tensor_parallel - RUNTIME / 2


def concurrent_sequences(d: Dimensions, s: Setting, capacity: float, tokens: float) -> int:
    """Sequences of `tokens` tokens whose keys and values fit on one replica at once."""
    heads = max(1, d.kv_heads // s.tensor_parallel) / d.kv_heads  # a head is never split
    per_sequence = d.kv_bytes * heads * tokens
    return max(0, min(s.max_num_seqs, int(kv_cache(d, s, capacity) / per_sequence)))


def host(d: Dimensions, s: Setting) -> dict[str, float]:
    """Bytes of the head node's memory; the export of a checkpoint is its highest point."""
    share = s.gpus / s.ranks
    total = d.parameters()
    queue = s.sequences * (s.prompt + s.response) * FIELDS
    routes = s.sequences * (s.prompt + s.response) * d.sparse_layers * d.active_experts * ROUTE
    return {
        "offloaded weights": 4 * total * share if s.param_offload else 0.0,
        "offloaded optimizer": 8 * total * share if s.optimizer_offload else 0.0,
        "export": 4 * total + 2 * total,  # the whole state in fp32, and verl's empty bf16 model
        "samples": float(queue),
        "routes": float(routes) if s.replay else 0.0,
        "processes": float(PROCESS * (2 * s.gpus + 8)),
    }


def disk(d: Dimensions, s: Setting, hub: bool) -> dict[str, float]:
    """Bytes below runs/: a checkpoint is weights, moments and an export, all in fp32."""
    total = d.parameters()
    return {
        "hub weights": 2.0 * total if hub else 0.0,
        "cold start": 4.0 * total,
        # verl never prunes the one that it resumed from
        "checkpoints": 16.0 * total * (s.kept_checkpoints + 1),
    }
