"""GPU-hours of a run: FLOPs and bytes over what a GPU does of them per second.

    training    8 N per token: forward, backward (twice a forward) and the forward that gradient
                checkpointing repeats (6 N without), plus attention; N: parameters a token meets
    old log-probabilities   2 N per token, plus attention
    sampling    one step of a replica writes one token of each of b sequences: it reads the weights
                once and every sequence's keys and values, or multiplies 2 N b, whichever is slower;
                b is what the KV cache holds (vLLM gives memory as a sequence grows) or max_num_seqs

Where other GPUs sample than train, sampling counts as far as it takes longer than training. Updates
of a critic are not counted. Nothing here was measured: `ours`, all of ASSUMED. GPU numbers:
NVIDIA's H100 SXM data sheet.
"""

from __future__ import annotations

import math

from common.estimate import memory
from common.estimate.dimensions import Dimensions

FLOPS = 989e12  # bf16, dense
BANDWIDTH = 3.35e12  # bytes per second
ASSUMED = {
    "training_utilization": 0.25,  # of FLOPS: a mixture of experts whose layers are gathered
    "forward_utilization": 0.30,
    "sampling_bandwidth": 0.5,  # of BANDWIDTH
    "sampling_utilization": 0.30,
    "mean_prompt": 0.1,  # of max_prompt_length
    "mean_response": 0.5,  # of max_response_length
    "between_phases": 60.0,  # seconds a step: weights to the sampler, offloading, rewards
}


def step_seconds(d: Dimensions, s: memory.Setting, capacity: float) -> dict[str, float]:
    """Seconds of each phase of one training step."""
    prompt, response = ASSUMED["mean_prompt"] * s.prompt, ASSUMED["mean_response"] * s.response
    length = prompt + response
    tokens = s.sequences * length
    forward = tokens * (2 * d.multiplied + d.attention_flops(length / 2))
    passes = 4 if s.checkpointing else 3
    seconds = forward / (s.ranks * FLOPS)
    sampling = sampling_seconds(d, s, capacity, s.sequences)
    training = {
        "old log-probabilities": s.kept * seconds / ASSUMED["forward_utilization"],
        "update": s.kept * s.epochs * passes * seconds / ASSUMED["training_utilization"],
        "between": ASSUMED["between_phases"],
    }
    if s.samplers:  # at the same time
        sampling = max(0.0, sampling - sum(training.values()))
    return {"sampling": sampling} | training


def sampling_seconds(d: Dimensions, s: memory.Setting, capacity: float, sequences: int) -> float:
    """Seconds until `sequences` responses are there, spread over all replicas."""
    replicas = max(1, (s.samplers or s.ranks) // s.tensor_parallel)
    each = math.ceil(sequences / replicas)
    prompt, response = ASSUMED["mean_prompt"] * s.prompt, ASSUMED["mean_response"] * s.response
    context = prompt + response / 2  # of a sequence on its way
    batch = min(each, memory.concurrent_sequences(d, s, capacity, context))
    if batch == 0:
        return math.inf
    read = 2 * d.parameters() + batch * context * d.kv_bytes
    by_bytes = read / (s.tensor_parallel * BANDWIDTH * ASSUMED["sampling_bandwidth"])
    flops = batch * (2 * d.multiplied + d.attention_flops(context))
    by_flops = flops / (s.tensor_parallel * FLOPS * ASSUMED["sampling_utilization"])
    prefill = each * prompt * 2 * d.multiplied / (s.tensor_parallel * FLOPS)
    # a slot writes its share of all tokens, and the last sequence may run to the limit
    steps = each / batch * response + (s.response - response)
    return steps * max(by_bytes, by_flops) + prefill / ASSUMED["sampling_utilization"]


def gpu_hours(
    d: Dimensions, s: memory.Setting, capacity: float, steps: int, evaluated: int
) -> dict[str, float]:
    """GPU-hours of `steps` training steps and of `evaluated` responses of all evaluations."""
    seconds = step_seconds(d, s, capacity)
    gpus = (s.ranks + s.samplers) / 3600
    parts = {phase: steps * value * gpus for phase, value in seconds.items()}
    parts["evaluation"] = sampling_seconds(d, s, capacity, evaluated) * gpus
    return parts
