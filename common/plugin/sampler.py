"""Samplers for `trainer.v1.sampler.custom_sampler`: fast polling, fixed batch order, statistics of
whole groups, rewards of whole groups, and responses left out of the update."""

import random
from statistics import fmean
from typing import Any

import torch
import transfer_queue as tq  # type: ignore[import-untyped]
from tensordict import TensorDict
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer, ReplayBufferAsync
from verl.utils import hf_tokenizer

from common.plugin import group_metrics
from common.plugin.advantages import sign_weights  # registers its estimator, too
from common.rewards import selection
from common.rewards.group import KEY, GroupReward, format_rewards
from common.schema import build


class _Groups:
    """Goes before one of verl's replay buffers, with these differences.

    It polls every `sampler_kwargs.poll_interval` seconds (0.05 by default; verl waits 2 s, longer
    than a whole step of a tiny model). And it returns a batch in the order in which its prompts
    were submitted, with the samples of a prompt by number. verl's own order is that in which the
    replies arrived, which differs between runs and decides the mini-batch of each sample.

    It ends the run when a response failed (a worker died, a reward function raised). verl goes on
    with the responses that are there: it trains, saves and scores on part of a batch.

    `sampler_kwargs.sign_weights` (write `${algorithm.sign_weights}`; see advantages.py) takes the
    responses whose sign has weight 0 out of the batch: they cost no update, and a step has fewer
    mini-batches, as in arXiv 2506.01347. verl fills the last mini-batch up with masked rows.

    `sampler_kwargs.group_reward` (fields of `common.rewards.group.GroupReward`) puts a reward of
    whole groups in the place of what the reward function gave: here, and nowhere before, are all
    responses to a prompt together. `tokenizer`: the folder to decode them with, which the program
    sets.

    `sampler_kwargs.selection` (fields of `common.rewards.selection.Selection`) keeps some responses
    of each prompt for the update and normalises their rewards over their group. What the trainer
    then takes for scores (`critic/score/mean`) are the normalised rewards.

    Metrics of a step, over all responses that were sampled, also those left out; a response is
    correct when its score is above 0:

    - group/score: mean score. group/correct: share of responses that are correct.
    - group/all_correct, group/none_correct: share of the prompts whose responses all are, or none.
    - group/samples: number of responses.
    - group/kept: share of responses that go to the update; group/kept_score: their mean score, and
      group/kept_spread the mean over prompts of its standard deviation, before any normalisation.
    - group/<data source>/score, group/<data source>/spread: the same as group/score and
      group/spread of one source alone, where a batch has several.
    - group/spread: mean over prompts of the standard deviation of their responses' scores, the
      advantage before it is normalised; group/zero_spread: share of prompts whose scores are all
      equal, so that a group-relative advantage is 0 for each. group/correctness_spread and
      group/correctness_zero_spread: the same of the scores' part `correctness`, where there is one.
    - group/entropy: mean over all sampled tokens of minus their log-probability under the sampler,
      an unbiased estimate of its entropy (`rollout.calculate_log_probs`); actor/entropy is over the
      responses of the update alone.
    - group/think: share of the responses to a prompt with the think template, where rows have one
      (agent_loop.py).
    - group/<name>: mean of what the reward function returns beside its score, `ungradable` first of
      all; where a batch has several data sources, over the rows that have a number.

    verl leaves filtering to custom samplers and this one does none: `algorithm.filter_groups` has
    no effect.
    """

    prompt_global_steps: dict[str, dict[str, int]]  # of verl's, as is failure_keys
    failure_keys: dict[str, set[str]]
    synchronous: bool

    def __init__(self, *, sampler_kwargs: Any, **kwargs: Any) -> None:
        """Take verl's arguments for a custom sampler.

        Raises:
            ValueError: the sampler of another kind of trainer, an unknown key in `sampler_kwargs`,
                an interval that is not positive, wrong weights, or a wrong selection.
        """
        if (kwargs["trainer_mode"] == "sync") != self.synchronous:
            other = AsyncGroupReplayBuffer if self.synchronous else GroupReplayBuffer
            raise ValueError(
                f"trainer.v1.trainer_mode={kwargs['trainer_mode']}: {type(self).__name__} is not "
                f"for it; set trainer.v1.sampler.custom_sampler.name={other.__name__}"
            )
        options = dict(sampler_kwargs or {})
        interval = float(options.pop("poll_interval", 0.05))
        weights = options.pop("sign_weights", None)
        reward, tokenizer = options.pop("group_reward", None), options.pop("tokenizer", None)
        chosen = options.pop("selection", None)
        if options or interval <= 0:
            raise ValueError(
                "trainer.v1.sampler.sampler_kwargs takes poll_interval, in seconds and above 0, "
                "sign_weights, group_reward, selection, and nothing else; got "
                f"{dict(sampler_kwargs)}."
            )
        self.reward = None if reward is None else build(GroupReward, dict(reward), KEY)
        self.tokenizer = None if reward is None else hf_tokenizer(tokenizer)
        # {is the response correct: does it go to the update}
        self.kept = {True: True, False: True}
        if weights is not None:
            correct, incorrect = sign_weights(weights)
            self.kept = {True: correct > 0, False: incorrect > 0}
        self.selection: selection.Selection | None = None
        if chosen is not None:
            if weights is not None:
                raise ValueError("sampler_kwargs: sign_weights and selection both leave rows out")
            self.selection = build(selection.Selection, dict(chosen), selection.KEY)
        verls = {"sampler_kwargs": sampler_kwargs, "poll_interval": interval}
        super().__init__(**verls, **kwargs)

    def _terminal_eviction_reasons(self, global_steps: int, partition_id: str) -> Any:
        failed = self.failure_keys[partition_id]
        if failed:
            raise RuntimeError(
                f"{len(failed)} prompts ({partition_id}) have a response that could not be made or "
                "scored; the first error in the log says why"
            )
        return super()._terminal_eviction_reasons(global_steps, partition_id)  # type: ignore[misc]

    def sample(
        self, global_steps: int, partition_id: str, batch_size: int
    ) -> tuple[KVBatchMeta, dict]:
        """Wait for `batch_size` complete groups and return them in a reproducible order.

        TransferQueue lists keys in the order of their first registration, and the trainer registers
        the prompts of a step in dataset order before it generates.
        """
        batch, metrics = super().sample(  # type: ignore[misc]
            global_steps=global_steps, partition_id=partition_id, batch_size=batch_size
        )
        submitted = {uid: i for i, uid in enumerate(self.prompt_global_steps[partition_id])}

        def position(i: int) -> tuple[int, int, int]:
            uid, sample, turn = batch.keys[i].rsplit("_", 2)
            return submitted[uid], int(sample), int(turn)

        order = sorted(range(len(batch.keys)), key=position)
        keys, tags = [batch.keys[i] for i in order], [batch.tags[i] for i in order]
        if partition_id == "train":
            kept, found = self._select(keys, global_steps)
            metrics = metrics | found
            keys, tags = [keys[i] for i in kept], [tags[i] for i in kept]
        return KVBatchMeta(partition_id=partition_id, keys=keys, tags=tags), metrics

    def _select(self, keys: list[str], global_steps: int) -> tuple[list[int], dict[str, float]]:
        """Positions of the responses that go to the update, and the metrics of the step."""
        wanted = ["rm_scores", "extra_fields", "rollout_log_probs", "response_mask", "data_source"]
        wanted += ["responses", "reward_model"] if self.reward else []
        fields = tq.kv_batch_get(keys=keys, partition_id="train", select_fields=wanted)
        by_prompt: dict[str, list[int]] = {}  # positions of each prompt's responses
        for i, key in enumerate(keys):
            by_prompt.setdefault(key.rsplit("_", 2)[0], []).append(i)
        groups = list(by_prompt.values())
        infos = [dict(extra.get("reward_extra_info", {})) for extra in fields["extra_fields"]]
        scores = [float(score.sum()) for score in fields["rm_scores"]]
        if self.reward:
            scores = self._vote(keys, fields, groups, infos)
        correct = [score > 0 for score in scores]
        if self.selection:
            kept = self._keep(keys, fields, groups, scores, global_steps)
        else:
            # a batch cannot be empty: of responses without a gradient one may stay
            kept = [i for i, right in enumerate(correct) if self.kept[right]] or [0]
        left_out = sorted(set(range(len(keys))) - set(kept))
        if left_out:
            tq.kv_clear(partition_id="train", keys=[keys[i] for i in left_out])
        rights_PG = [[correct[i] for i in group] for group in groups]
        scores_PG = [[scores[i] for i in group] for group in groups]
        metrics = (
            group_metrics.means(infos)
            | group_metrics.entropy(fields)
            | {
                "group/score": sum(scores) / len(scores),
                "group/correct": sum(correct) / len(correct),
                "group/all_correct": sum(map(all, rights_PG)) / len(groups),
                "group/none_correct": sum(not any(g) for g in rights_PG) / len(groups),
                "group/kept": len(kept) / len(keys),
                "group/samples": len(keys),
            }
        )
        drawn = [extra["think"] for extra in fields["extra_fields"] if "think" in extra]
        if drawn:
            metrics["group/think"] = fmean(drawn)
        parts = {"": scores_PG}
        if all("correctness" in info for info in infos):
            parts["correctness_"] = [[infos[i]["correctness"] for i in g] for g in groups]
        if self.selection:
            own = [[scores[i] for i in sorted(set(group) & set(kept))] for group in groups]
            metrics["group/kept_score"] = fmean(score for group in own for score in group)
            metrics["group/kept_spread"] = group_metrics.spread("", own)["spread"]
        for name, values_PG in parts.items():
            metrics |= group_metrics.spread(f"group/{name}", values_PG)
        if "data_source" in set(fields.keys()):
            sources = [str(source) for source in fields["data_source"]]
            metrics |= group_metrics.scales([sources[group[0]] for group in groups], scores_PG)
        return kept, metrics

    def _keep(
        self,
        keys: list[str],
        fields: Any,
        groups: list[list[int]],
        scores: list[float],
        global_steps: int,
    ) -> list[int]:
        """Choose the responses of each prompt, and write the rewards that they take along."""
        assert self.selection is not None
        rewards = dict.fromkeys(range(len(keys)), 0.0)
        kept: list[int] = []
        for number, group in enumerate(groups):
            scores_G = [scores[i] for i in group]

            def draw(number: int = number) -> random.Random:
                assert self.selection is not None
                return random.Random(f"{self.selection.seed}/{global_steps}/{number}")

            chosen = self.selection.keep(scores_G, draw)
            found = self.selection.rewards(scores_G, chosen)
            rewards |= {group[i]: reward for i, reward in zip(chosen, found, strict=True)}
            kept += [group[i] for i in chosen]
        kept.sort()
        if self.selection.normalise != "never":
            rows = list(fields["rm_scores"])
            _write_scores(
                [keys[i] for i in kept], [rows[i] for i in kept], [rewards[i] for i in kept]
            )
        return kept

    def _vote(
        self, keys: list[str], fields: Any, groups: list[list[int]], infos: list[dict[str, float]]
    ) -> list[float]:
        """Write the rewards of whole groups in the place of the responses' own, and return them;
        `infos` then says `correctness` and `format` of these."""
        assert self.reward is not None and self.tokenizer is not None
        responses = [
            self.tokenizer.decode(tokens, skip_special_tokens=True)
            for tokens in fields["responses"]
        ]
        golds = [str(row["ground_truth"]) for row in fields["reward_model"]]
        scores = [0.0] * len(keys)
        for group in groups:
            texts = [responses[i] for i in group]
            parts = zip(
                group,
                self.reward.correctness(
                    texts, golds[group[0]], lambda group=group: _confidence(fields, group)
                ),
                format_rewards(texts),
                strict=True,
            )
            for i, correctness, form in parts:
                infos[i] |= {"correctness": correctness, "format": form}
                scores[i] = correctness + form
        _write_scores(keys, list(fields["rm_scores"]), scores)
        return scores


class GroupReplayBuffer(_Groups, ReplayBuffer):
    """verl's synchronous replay buffer for whole groups; see `_Groups`."""

    synchronous = True


class AsyncGroupReplayBuffer(_Groups, ReplayBufferAsync):
    """verl's asynchronous replay buffer (`separate_async`) for whole groups; see `_Groups`. The
    order of submission is that of the prompts alone: which of them a batch has, arrival decides."""

    synchronous = False


def _write_scores(keys: list[str], rows: list[torch.Tensor], scores: list[float]) -> None:
    """Put scores in the place of those that the reward function gave, on the last tokens.

    Args: rows: the old ones, [tokens of that response] each.
    """
    rows = [torch.zeros_like(row) for row in rows]
    for row, score in zip(rows, scores, strict=True):
        row[-1] = score
    nested = torch.nested.as_nested_tensor(rows, layout=torch.jagged)
    written = TensorDict({"rm_scores": nested}, batch_size=len(keys))
    tq.kv_batch_put(keys=keys, partition_id="train", fields=written)


def _confidence(fields: Any, group: list[int]) -> list[float]:
    """Mean probability of the tokens of each response under the sampler."""
    if "rollout_log_probs" not in set(fields.keys()):
        raise ValueError(f"{KEY}.confidence=true: set rollout.calculate_log_probs=true")
    log_probs, masks = fields["rollout_log_probs"], fields["response_mask"]
    return [
        float((log_probs[i].exp() * masks[i]).sum() / masks[i].sum().clamp(min=1)) for i in group
    ]
