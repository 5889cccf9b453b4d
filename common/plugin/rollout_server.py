"""Rollout backend `transformers` for verl: runs wherever transformers does, without vLLM.

One Ray actor per replica holds a copy of the policy and answers token-in, token-out requests in
dynamic batches. Choose it with `actor_rollout_ref.rollout.name=transformers`; options go under
`actor_rollout_ref.rollout.engine_kwargs.transformers` (see `TransformersServer`).
"""

import asyncio
import os
import time
from collections.abc import AsyncIterable, Iterable
from dataclasses import dataclass
from typing import Any

import ray
import torch
from omegaconf import DictConfig
from transformers import AutoModelForCausalLM
from verl.utils.config import omega_conf_to_dataclass
from verl.workers.config import HFModelConfig, RolloutConfig
from verl.workers.rollout.base import BaseRollout
from verl.workers.rollout.replica import RolloutMode, RolloutReplica, TokenOutput
from verl.workers.rollout.utils import ensure_async_iterator

from common.plugin.routing import Routing
from common.plugin.sampling import Completion, SamplingParams, sample
from common.plugin.weights import WeightUpdate

# Requests of a step come one by one, milliseconds apart. A batch starts once none has come for a
# tenth of the time that the last batch took (what waiting may cost), or for this many seconds.
_QUIET_SECONDS = 0.02


@dataclass
class _Request:
    prompt: list[int]
    params: SamplingParams
    reply: asyncio.Future


class TransformersServer:
    """Ray actor that samples from its own copy of the policy.

    Args:
        config: verl's rollout configuration; `dtype`, `max_num_seqs`, the lengths and
            `enable_rollout_routing_replay` (return the experts of every token) are honoured.
        model_config: verl's model configuration.
        load_weights: True to read the weights from disk (standalone, colocated), False to wait for
            the trainer to push them (hybrid).
        num_threads: Threads that torch computes with.
    """

    def __init__(
        self,
        config: RolloutConfig,
        model_config: DictConfig,
        load_weights: bool,
        num_threads: int = 1,
    ) -> None:
        torch.set_num_threads(num_threads)
        self.config = config
        model: HFModelConfig = omega_conf_to_dataclass(model_config, dataclass_type=HFModelConfig)
        dtype = getattr(torch, config.dtype)
        if load_weights:
            self.model = AutoModelForCausalLM.from_pretrained(
                str(model.local_path), config=model.hf_config, dtype=dtype
            )
        else:
            self.model = AutoModelForCausalLM.from_config(model.hf_config, dtype=dtype)
        self.model.eval()
        self.routing = Routing(self.model) if config.enable_rollout_routing_replay else None
        self.eos_token_ids = _eos_token_ids(model)
        self.global_steps: int | None = None
        self.requests: asyncio.Queue[_Request] = asyncio.Queue()
        self.serving: asyncio.Task | None = None
        self.quiet_seconds = _QUIET_SECONDS
        # whoever holds the lock of `weights` has the model; it can be served once `loaded`
        self.weights = asyncio.Condition()
        self.loaded = load_weights
        self.paused = False
        self.update: WeightUpdate | None = None

    async def generate(
        self, prompt_ids: list[int], sampling_params: dict[str, Any], **kwargs: Any
    ) -> TokenOutput:
        """Continue `prompt_ids`; verl's server interface, as `vLLMHttpServer.generate`.

        Raises:
            ValueError: images, video or audio, a sampling parameter this backend lacks, or a prompt
                that leaves no room for a token.
        """
        media = [k for k in ("image_data", "video_data", "audio_data") if kwargs.get(k)]
        if media:
            raise ValueError(f"rollout.name=transformers serves text only, got {media}.")
        want_log_probs = sampling_params.get("logprobs", False)
        params = request_params(sampling_params, len(prompt_ids), self.config, self.eos_token_ids)
        if self.serving is None:
            self.serving = asyncio.create_task(self._serve())
        request = _Request(list(prompt_ids), params, asyncio.get_running_loop().create_future())
        self.requests.put_nowait(request)
        completion, global_steps = await request.reply
        return TokenOutput(
            token_ids=completion.token_ids,
            log_probs=completion.log_probs if want_log_probs else None,
            routed_experts=None if completion.routes is None else completion.routes.numpy(),
            stop_reason="completed",  # verl's word for both of ours, "stop" and "length"
            extra_fields={"global_steps": global_steps},
        )

    async def _serve(self) -> None:
        while True:
            batch = await self._next_batch()
            try:
                async with self.weights:
                    await self.weights.wait_for(lambda: self.loaded and not self.paused)
                    completions = await asyncio.to_thread(self._sample, batch)
                    global_steps = self.global_steps
            except Exception as error:  # it belongs to the callers; the server serves on
                for request in batch:
                    if not request.reply.done():  # done already: its caller has been cancelled
                        request.reply.set_exception(error)
                continue
            for request, completion in zip(batch, completions, strict=True):
                if not request.reply.done():
                    request.reply.set_result((completion, global_steps))

    async def _next_batch(self) -> list[_Request]:
        """All that is queued, and what arrives until the queue has been quiet for a moment."""
        batch = [await self.requests.get()]
        arrived = True
        while arrived and len(batch) < self.config.max_num_seqs:
            await asyncio.sleep(self.quiet_seconds)
            arrived = not self.requests.empty()
            while not self.requests.empty() and len(batch) < self.config.max_num_seqs:
                batch.append(self.requests.get_nowait())
        # in an order that does not depend on arrival, so that equal batches give equal sums
        return sorted(batch, key=lambda request: (request.params.seed or 0, request.prompt))

    def _sample(self, batch: list[_Request]) -> list[Completion]:
        start = time.perf_counter()
        prompts, params = [r.prompt for r in batch], [r.params for r in batch]
        completions = sample(self.model, prompts, params, len(batch), self.routing)
        self.quiet_seconds = max(_QUIET_SECONDS, 0.1 * (time.perf_counter() - start))
        return completions

    async def update_weights(
        self, named: dict[str, torch.Tensor], last: bool, global_steps: int | None = None
    ) -> None:
        """Write one bucket of new weights; nothing is served between the first and the last.

        Raises:
            ValueError: weights that the model does not have, or that the update left out.
        """
        async with self.weights:
            self.loaded = False
            self.update = self.update or WeightUpdate(self.model)
            self.update.write(named.items())
            if last:
                self.update.finish()
                self.update, self.loaded, self.global_steps = None, True, global_steps
                self.weights.notify_all()

    async def abort_all_requests(self, reject_request: bool = False) -> None:
        """Start no batch until `resume_generation`. Returns once the one being sampled has ended:
        a response is of one version of the weights, where vLLM's would be cut and continued by
        the next. What waits is answered by the new weights, whatever `reject_request` says."""
        async with self.weights:
            self.paused = True

    async def resume_generation(self) -> None:
        async with self.weights:
            self.paused = False
            self.weights.notify_all()

    async def ready(self) -> None:
        """Returns once the actor is up."""

    # verl frees device memory around an update through these; there is none to free here.
    async def wake_up(self, tags: list[str] | None = None) -> None: ...

    async def sleep(self) -> None: ...

    async def clear_kv_cache(self) -> None: ...

    async def release_kv_cache(self) -> None: ...

    async def resume_kv_cache(self) -> None: ...


class TransformersReplica(RolloutReplica):
    """Starts the server of one replica."""

    async def launch_servers(self) -> None:
        kind = "reward_" if self.is_reward_model else "teacher_" if self.is_teacher_model else ""
        name = _actor_name(self.config, f"{kind}{self.replica_rank}") + self.name_suffix
        actor: Any = ray.remote(TransformersServer)
        server = actor.options(name=name, max_concurrency=self.max_concurrency, num_cpus=0).remote(
            config=self.config,
            model_config=self.model_config,
            load_weights=self.rollout_mode != RolloutMode.HYBRID,
            **self.config.engine_kwargs.get("transformers", {}),
        )
        await server.ready.remote()
        self.servers = [server]
        self._server_handle = server
        self._server_address = name  # for logs: there is no HTTP endpoint

    def rollout_worker_use_gpu(self) -> bool:
        return False


class ServerAdapter(BaseRollout):
    """Pushes new weights to the server of its replica. It lives in each trainer process or, of a
    standalone replica, in the worker that receives what the checkpoint engine sends."""

    def __init__(
        self, config: Any, model_config: Any, device_mesh: Any, replica_rank: int = -1
    ) -> None:
        super().__init__(config, model_config, device_mesh)
        c = self.config
        ranks = c.tensor_model_parallel_size * c.data_parallel_size * c.pipeline_model_parallel_size
        rank = int(os.environ["RANK"])
        self.replica_rank = rank // ranks if replica_rank == -1 else replica_rank
        self.sends = rank % ranks == 0

    async def resume(self, tags: list[str]) -> None: ...

    async def release(self) -> None: ...

    @torch.no_grad()
    async def update_weights(
        self,
        weights: Iterable[tuple[str, torch.Tensor]] | AsyncIterable[tuple[str, torch.Tensor]],
        wire_format: str = "named_tensors",
        global_steps: int | None = None,
        peft_config: dict | None = None,
        **_: Any,
    ) -> None:
        """Send all weights in buckets of `checkpoint_engine.update_weights_bucket_megabytes`.

        Raises:
            ValueError: a wire format other than named tensors, or LoRA adapters not merged.
        """
        if wire_format != "named_tensors" or peft_config is not None:
            raise ValueError(
                "rollout.name=transformers takes full weights: set checkpoint_engine.backend=naive "
                "(or gloo, of a standalone replica) and, with LoRA, model.lora.merge=True."
            )
        limit = self.config.checkpoint_engine.update_weights_bucket_megabytes << 20
        server = ray.get_actor(_actor_name(self.config, self.replica_rank)) if self.sends else None
        bucket: dict[str, torch.Tensor] = {}
        size = 0
        # every rank iterates: gathering a weight is a collective
        async for name, tensor in ensure_async_iterator(weights):
            if server is None:
                continue
            # a copy, since pickling a view of a fused weight would send all of it
            bucket[name] = tensor.detach().cpu().clone()
            size += tensor.nbytes
            if size >= limit:
                await server.update_weights.remote(bucket, last=False)
                bucket, size = {}, 0
        if server is not None:
            await server.update_weights.remote(bucket, last=True, global_steps=global_steps)


def request_params(
    request: dict[str, Any],
    prompt_length: int,
    config: RolloutConfig,
    eos_token_ids: tuple[int, ...],
) -> SamplingParams:
    """Translate verl's (that is vLLM's) sampling parameters.

    The length limit is verl's own for vLLM: what the request asks for, else what the configured
    prompt and response lengths leave, and never more than the context holds.

    Raises:
        ValueError: an unsupported parameter, or no room for a token.
    """
    request = dict(request)
    request.pop("logprobs", None)
    total = config.prompt_length + config.response_length
    limit = request.pop("max_new_tokens", None)
    limit = request.pop("max_tokens", limit) or min(config.response_length, total - prompt_length)
    room = (config.max_model_len or total) - prompt_length
    if room < 1:
        raise ValueError(
            f"A prompt of {prompt_length} tokens leaves no room in a context of "
            f"{prompt_length + room}; raise data.max_prompt_length or rollout.max_model_len."
        )
    if request.pop("repetition_penalty", 1.0) != 1.0:
        raise ValueError("rollout.name=transformers needs repetition_penalty=1.0.")
    stops = tuple(request.pop("stop_token_ids", None) or ())
    if not request.pop("ignore_eos", config.ignore_eos):
        stops += eos_token_ids
    params = SamplingParams(
        max_new_tokens=max(1, min(limit, room)),
        temperature=float(request.pop("temperature", 1.0)),
        top_k=int(request.pop("top_k", -1)),
        top_p=float(request.pop("top_p", 1.0)),
        seed=request.pop("seed", None),
        stop_token_ids=stops,
    )
    if request:
        raise ValueError(f"rollout.name=transformers has no sampling parameters {sorted(request)}.")
    return params


def _eos_token_ids(model: HFModelConfig) -> tuple[int, ...]:
    """End-of-sequence ids of the generation configuration and the tokenizer."""
    found = {model.tokenizer.eos_token_id}
    configured = getattr(model.generation_config, "eos_token_id", None)
    found |= set(configured) if isinstance(configured, list | tuple) else {configured}
    return tuple(sorted(found - {None}))


def _actor_name(config: RolloutConfig, replica: int | str) -> str:
    return f"{config.name}_server_{replica}_0"
