"""`GroupReplayBuffer` for `trainer.v1.sampler.custom_sampler`: fast polling, fixed batch order."""

from typing import Any

from transfer_queue import KVBatchMeta  # type: ignore[import-untyped]
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer


class GroupReplayBuffer(ReplayBuffer):
    """verl's synchronous replay buffer, with three differences.

    It polls every `sampler_kwargs.poll_interval` seconds (0.05 by default; verl waits 2 s, longer
    than a whole step of a tiny model). And it returns a batch in the order in which its prompts
    were submitted, with the samples of a prompt by number. verl's own order is that in which the
    replies arrived, which differs between runs and decides the mini-batch of each sample.

    It ends the run when a response failed (a worker died, a reward function raised). verl goes on
    with the responses that are there: it trains, saves and scores on part of a batch.

    verl leaves filtering to custom samplers and this one does none: `algorithm.filter_groups` has
    no effect.
    """

    def __init__(self, *, sampler_kwargs: Any, **kwargs: Any) -> None:
        """Take verl's arguments for a custom sampler.

        Raises:
            ValueError: an asynchronous trainer, an unknown key in `sampler_kwargs`, or an interval
                that is not positive.
        """
        if kwargs["trainer_mode"] != "sync":
            raise ValueError(
                "GroupReplayBuffer needs trainer.v1.trainer_mode=sync; for "
                f"{kwargs['trainer_mode']} unset trainer.v1.sampler.custom_sampler."
            )
        options = dict(sampler_kwargs or {})
        interval = float(options.pop("poll_interval", 0.05))
        if options or interval <= 0:
            raise ValueError(
                "trainer.v1.sampler.sampler_kwargs takes poll_interval, in seconds and above 0, "
                f"and nothing else; got {dict(sampler_kwargs)}."
            )
        super().__init__(sampler_kwargs=sampler_kwargs, poll_interval=interval, **kwargs)

    def _sampleable_terminal_keys(self, partition_id: str, eviction_reasons: Any) -> set[str]:
        failed = self.failure_keys[partition_id]
        if failed:
            raise RuntimeError(
                f"{len(failed)} prompts ({partition_id}) have a response that could not be made or "
                "scored; the first error in the log says why"
            )
        return super()._sampleable_terminal_keys(partition_id, eviction_reasons)

    def sample(
        self, global_steps: int, partition_id: str, batch_size: int
    ) -> tuple[KVBatchMeta, dict]:
        """Wait for `batch_size` complete groups and return them in a reproducible order.

        TransferQueue lists keys in the order of their first registration, and the trainer registers
        the prompts of a step in dataset order before it generates.
        """
        batch, metrics = super().sample(
            global_steps=global_steps, partition_id=partition_id, batch_size=batch_size
        )
        submitted = {uid: i for i, uid in enumerate(self.prompt_global_steps[partition_id])}

        def position(i: int) -> tuple[int, int, int]:
            uid, sample, turn = batch.keys[i].rsplit("_", 2)
            return submitted[uid], int(sample), int(turn)

        order = sorted(range(len(batch.keys)), key=position)
        return (
            KVBatchMeta(
                partition_id=partition_id,
                keys=[batch.keys[i] for i in order],
                tags=[batch.tags[i] for i in order],
            ),
            metrics,
        )
