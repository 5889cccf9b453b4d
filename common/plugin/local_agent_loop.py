"""`LocalAgentLoopManager`: verl's agent loops in the trainer's process, a step's responses at once.

Chosen by `actor_rollout_ref.rollout.agent.agent_loop_manager_class`, which verl (0.9.1,
trainer/main_ppo.py) has for managers of one's own. Made for models so small that verl's work for
each request, not sampling, decides how long a step takes. What differs from verl's own manager:

- The loops run in a thread of the trainer, not in Ray actors: no process to start, none to feed.
- verl's reward manager is called right here, not in a Ray actor; set `reward.num_workers=0`.
- The responses of a submission go to TransferQueue in one write, when the last is done. Each
  submission is a step's prompts (or replaces some of them), which the samplers of `sync` and, with
  prompts in advance, of `separate_async` wait for anyway.
- Of the dataset's columns, only those that the trainer reads back go with a response.
"""

import asyncio
import logging
import os
import threading
from collections.abc import Coroutine
from typing import Any

import torch
import transfer_queue as tq  # type: ignore[import-untyped]
from hydra.utils import get_class
from tensordict import NonTensorData, TensorDict
from verl.experimental.agent_loop.agent_loop import (
    AgentLoopOutput,
    AgentLoopWorker,
    DictConfigWrap,
    ToolListWrap,
    _agent_loop_registry,
)
from verl.protocol import DataProtoItem
from verl.trainer.ppo.reward import load_reward_manager
from verl.utils.tensordict_utils import list_of_dict_to_tensordict

from common.plugin import agent_loop  # noqa: F401  (registered by its import)

logger = logging.getLogger(__name__)

# Columns of the dataset that verl's trainer reads back (0.9.1, trainer/ppo/v1/trainer_base.py).
_COLUMNS = ("uid", "data_source", "reward_model")
# Of an agent loop's output, what it does not.
_UNREAD = ("metrics", "multi_modal_data", "mm_processor_kwargs", "mm_processor_output")


class LocalAgentLoopManager:
    """What verl's task runner asks of a manager: `create` and `generate_sequences`."""

    def __init__(self, config: Any, llm_client: Any) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="agent loops", daemon=True).start()
        self._worker = self._run(_make_worker(config, llm_client))

    @classmethod
    def create(
        cls, config: Any, llm_client: Any, teacher_client: Any, reward_loop_worker_handles: Any
    ) -> "LocalAgentLoopManager":
        """Called by verl's task runner when the servers and the trainer stand.

        Raises:
            ValueError: reward workers, a reward model or a teacher: verl's own manager has those.
        """
        if reward_loop_worker_handles != []:
            raise ValueError(
                "LocalAgentLoopManager scores by itself: set reward.num_workers=0 and "
                "reward.reward_model.enable=False."
            )
        if teacher_client is not None:
            raise ValueError("LocalAgentLoopManager has no teacher: set distillation.enabled=False")
        return cls(config, llm_client)

    def generate_sequences(self, prompts: TensorDict) -> None:
        """Start to answer `prompts`; the responses appear in TransferQueue when all are done."""
        self._run(self._worker.start(prompts))

    def close(self) -> None:
        """Give up what is being answered: prompts in advance of a training that has ended."""
        self._run(self._worker.stop())

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


async def _make_worker(config: Any, llm_client: Any) -> "_Worker":
    return _Worker(config, llm_client)  # inside the loop, since verl's constructors look it up


class _Worker(AgentLoopWorker):
    """Answers the prompts of a step, or of a validation."""

    def __init__(self, config: Any, llm_client: Any) -> None:
        super().__init__(config, llm_client)
        if self.processor is not None:
            raise ValueError("LocalAgentLoopManager serves text; this model has a processor.")
        self.reward_manager = load_reward_manager(config, self.tokenizer)
        self.running: set[asyncio.Task] = set()  # asyncio itself keeps no reference to a task

    async def start(self, batch: TensorDict) -> None:
        """Return at once; verl's trainer then polls TransferQueue for the prompts' status."""
        validate = bool(batch["validate"]) if "validate" in batch else False
        columns = {k: _values(v, len(batch)) for k, v in batch.items() if k != "validate"}
        rows = zip(*columns.values(), strict=True)
        prompts = [dict(zip(columns, row, strict=True)) for row in rows]
        task = asyncio.create_task(self._answer(prompts, "val" if validate else "train"))
        self.running.add(task)
        task.add_done_callback(self._ended)

    async def stop(self) -> None:
        running = list(self.running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _ended(self, task: asyncio.Task) -> None:
        self.running.discard(task)
        if not task.cancelled() and task.exception():
            # the trainer would wait for the prompts' status for ever
            logger.critical("the responses' status could not be written", exc_info=task.exception())
            os._exit(1)

    async def _answer(self, prompts: list[dict[str, Any]], partition: str) -> None:
        """Write all responses, then the status of their prompts: `failure` if anything failed."""
        status = "finished"
        try:
            await self._write_responses(prompts, partition)
        except Exception:
            logger.exception("a response could not be made, scored or written")
            status = "failure"
        keys = [prompt["uid"] for prompt in prompts]
        await tq.async_kv_batch_put(keys, partition, tags=[{"status": status}] * len(keys))

    async def _write_responses(self, prompts: list[dict[str, Any]], partition: str) -> None:
        rollout = self.rollout_config
        rule = rollout.val_kwargs if partition == "val" else rollout
        sampling_params = {
            "temperature": rule.temperature,
            "top_p": rule.top_p,
            "top_k": rule.top_k,
            "repetition_penalty": 1.0,
            "logprobs": rollout.calculate_log_probs,
        }
        asked = [(prompt, i) for prompt in prompts for i in range(rule.n)]
        responses = await asyncio.gather(
            *(self._respond(sampling_params, session_id=i, **prompt) for prompt, i in asked)
        )
        await tq.async_kv_batch_put(
            keys=[f"{prompt['uid']}_{i}_0" for prompt, i in asked],
            partition_id=partition,
            fields=list_of_dict_to_tensordict([fields for fields, _ in responses]),
            tags=[tag for _, tag in responses],
        )

    async def _respond(
        self, sampling_params: dict[str, Any], agent_name: str | None = None, **prompt: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """One response: its fields and its tag in TransferQueue, as verl's worker makes them."""
        name = agent_name or self.rollout_config.agent.default_agent_loop
        loop = get_class(_agent_loop_registry[name]["_target_"])(
            trainer_config=DictConfigWrap(self.config),
            server_manager=self.llm_client,
            tokenizer=self.tokenizer,
            processor=self.processor,
            hf_model_type=self.hf_model_type,
            dataset_cls=self.dataset_cls,
            data_config=DictConfigWrap(self.config.data),
            tools=ToolListWrap(self.tools),
        )
        output: AgentLoopOutput = await loop.run(sampling_params, **prompt)
        prompt_ids = torch.tensor(output.prompt_ids)
        response_ids = torch.tensor(output.response_ids)
        await self._score(output, response_ids, prompt)
        fields = output.as_dict() | {k: prompt[k] for k in _COLUMNS if k in prompt}
        for unread in _UNREAD:
            fields.pop(unread, None)
        fields["input_ids"] = torch.cat([prompt_ids, response_ids])
        fields["position_ids"] = torch.arange(len(fields["input_ids"]))
        fields["loss_mask"] = fields["response_mask"]
        tag = {
            "status": "success",
            "prompt_len": len(prompt_ids),
            "response_len": len(response_ids),
            "seq_len": len(prompt_ids) + len(response_ids),
            "global_steps": prompt["global_steps"],
            "min_global_steps": output.extra_fields.get("min_global_steps"),
            "max_global_steps": output.extra_fields.get("max_global_steps"),
        }
        return fields, tag

    async def _score(
        self, output: AgentLoopOutput, response_ids: torch.Tensor, prompt: dict[str, Any]
    ) -> None:
        """Let verl's reward manager, which takes a batch of one row, set the reward."""
        columns = {
            "extra_info": dict(prompt.get("extra_info") or {}),  # the reward manager adds to it
            "__num_turns__": output.num_turns,
            "tool_extra_fields": output.extra_fields,
        }
        row = DataProtoItem(
            batch={"responses": response_ids, "attention_mask": torch.ones_like(response_ids)},
            non_tensor_batch=prompt | columns,
        )
        batch: Any = [row]
        if output.reward_score is not None:  # the loop scores by itself
            return
        result = await self.reward_manager.run_single(batch)
        output.reward_score = result["reward_score"]
        output.extra_fields["reward_extra_info"] = result["reward_extra_info"]


def _values(column: Any, rows: int) -> list[Any]:
    """A column's value in each row. What comes back from the queue, as prompts in flight do when a
    run is resumed, has nested tensors, which know no `tolist`."""
    if isinstance(column, torch.Tensor):
        return [value.tolist() for value in column.unbind()]
    return [column.data] * rows if isinstance(column, NonTensorData) else list(column.tolist())
