"""Agent loop `seeded_single_turn`: verl's single-turn loop with one sampling seed per request."""

import hashlib
import random
from collections.abc import Mapping
from typing import Any

from verl.experimental.agent_loop.agent_loop import AgentLoopOutput, register
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop


def request_seed(
    rollout_seed: int, global_step: int, prompt_index: int, prompt: Any, sample: int
) -> int:
    """Seed in [0, 2^63) of one response, the same in every run and after a resume.

    Args:
        rollout_seed: `actor_rollout_ref.rollout.seed`.
        global_step: The trainer's step; a prompt seen again in a later epoch gets new samples.
        prompt_index: `extra_info.index` of the dataset row. verl fills 0 where it is missing and
            numbers train and validation rows alike, so the prompt itself counts as well.
        prompt: The chat messages.
        sample: Number of the response within its group.
    """
    key = repr((int(rollout_seed), int(global_step), int(prompt_index), prompt, int(sample)))
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1


def thinks(extra_info: Mapping[str, Any], seed: int) -> bool | None:
    """Whether a response gets `extra_info.think_prompt`, drawn by its seed with the probability
    `extra_info.think_share`; None where the row has no such prompt."""
    if extra_info.get("think_prompt") is None:
        return None
    return random.Random(f"think/{seed}").random() < float(extra_info["think_share"])


@register("seeded_single_turn")
class SeededSingleTurn(SingleTurnAgentLoop):
    """Gives each request its own seed, in training and in validation.

    A response is then a function of the weights and the seed, whichever server, batch or run it is
    sampled in, as far as floating point allows. vLLM honours the seed as well.

    Where a row's `extra_info` has a `think_prompt` (chat messages), some of the responses get that
    prompt in place of the row's: see `thinks`. Which did is in `extra_fields.think` (0 or 1).
    """

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> AgentLoopOutput:
        seed = request_seed(
            self.rollout_config.seed,
            kwargs["global_steps"],
            kwargs["index"],
            [(message["role"], message["content"]) for message in kwargs["raw_prompt"]],
            kwargs["session_id"],
        )
        extra = kwargs.get("extra_info") or {}
        think = thinks(extra, seed)
        if think:
            kwargs["raw_prompt"] = [dict(message) for message in extra["think_prompt"]]
        output = await super().run({**sampling_params, "seed": seed}, **kwargs)
        if think is not None:
            output.extra_fields["think"] = float(think)
        return output
