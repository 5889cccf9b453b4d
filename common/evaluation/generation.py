"""Sample and grade responses of one checkpoint; run as `python -m common.evaluation.generation`.

A process of its own, so that its memory is free again for the next stage. The engine is
`transformers` (the sampler of the CPU rollout server) or `vllm`; prompts are rendered by the
checkpoint's chat template, as verl's agent loop does in training.
"""

from __future__ import annotations

import argparse
import inspect
import json
import math
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

from common.rewards.rule import Rules
from common.runs import read_json, write_json
from data.parquet import PROMPT_COLUMNS, read_parquet


def request_seed(seed: int, problem: str, sample: int) -> int:
    """A seed for one response, independent of batch size and order."""
    return zlib.crc32(f"{seed}/{problem}/{sample}".encode())


def batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    for i in range(0, len(items), size):
        yield items[i : i + size]


def generate_transformers(model_path: Path, prompts: list[list[int]], spec: dict) -> Iterator:
    """Yield (position, token ids, finish reason, minus their log-probability) batch by batch."""
    import torch
    from transformers import AutoModelForCausalLM

    from common.plugin.sampling import SamplingParams, sample

    model = AutoModelForCausalLM.from_pretrained(
        model_path, dtype=torch.float32, attn_implementation="sdpa", trust_remote_code=False
    ).eval()
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for batch in batches(order, spec["batch_size"]):
        params = [
            SamplingParams(
                max_new_tokens=spec["max_response_length"],
                temperature=spec["temperature"],
                top_k=spec["top_k"],
                top_p=spec["top_p"],
                seed=spec["seeds"][i],
                stop_token_ids=tuple(spec["stop_ids"]),
            )
            for i in batch
        ]
        completions = sample(model, [prompts[i] for i in batch], params, spec["batch_size"])
        for i, completion in zip(batch, completions, strict=True):
            yield i, completion.token_ids, completion.finish_reason, -sum(completion.log_probs)


@lru_cache(maxsize=1)
def vllm_engine(model_path: Path, gpus: int) -> Any:
    """vLLM's offline engine; all benchmarks of a checkpoint share it, since it takes minutes.

    vLLM shares the attention heads out evenly: Qwen2.5-7B's 28 go over 4 of 8 GPUs.
    """
    from vllm import LLM

    size = math.gcd(gpus, read_json(model_path / "config.json")["num_attention_heads"])
    return LLM(str(model_path), tensor_parallel_size=size, trust_remote_code=False)


def generate_vllm(model_path: Path, prompts: list[list[int]], spec: dict) -> Iterator:
    """The same through vLLM's offline engine."""
    from vllm import SamplingParams
    from vllm.inputs import TokensPrompt

    engine = vllm_engine(model_path, spec["gpus"])
    parameters = [
        SamplingParams(
            temperature=spec["temperature"],
            top_p=spec["top_p"],
            top_k=spec["top_k"],
            max_tokens=spec["max_response_length"],
            stop_token_ids=spec["stop_ids"],
            seed=seed,
            logprobs=0,  # of the sampled token
        )
        for seed in spec["seeds"]
    ]
    outputs = engine.generate([TokensPrompt(prompt_token_ids=p) for p in prompts], parameters)
    for i, output in enumerate(outputs):
        found = output.outputs[0]
        yield i, list(found.token_ids), found.finish_reason, -found.cumulative_logprob


ENGINES = {"transformers": generate_transformers, "vllm": generate_vllm}


def stop_ids(model_path: Path, tokenizer: Any) -> list[int]:
    """End-of-sequence ids of the tokenizer and of the generation config."""
    ids = {tokenizer.eos_token_id}
    path = model_path / "generation_config.json"
    if path.exists():
        eos = read_json(path).get("eos_token_id")
        ids |= set(eos) if isinstance(eos, list) else {eos}
    return sorted(i for i in ids if i is not None)


def prompt_ids(
    tokenizer: Any, rows: list[dict[str, Any]], template: str | None = None
) -> list[list[int]]:
    """The tokens of each row's prompt, rendered by `template` or else the checkpoint's own."""
    rendered = [
        tokenizer.apply_chat_template(
            r["prompt"], chat_template=template, add_generation_prompt=True, return_dict=False
        )
        for r in rows
    ]
    return [list(ids) for ids in rendered]


def graded(
    rules: Rules, responses: Iterable[Any], grade: Callable[[Any], dict[str, float]]
) -> Iterator[tuple[Any, dict[str, float]]]:
    """Responses and their scores, in order. Sandboxed graders work in processes of their own, so
    as many responses as there are cores are graded at once; the others work here."""
    if not any(grader.sandboxed for grader in rules.graders.values()):
        yield from ((response, grade(response)) for response in responses)
        return
    cores = len(os.sched_getaffinity(0))
    waiting: deque[tuple[Any, Future[dict[str, float]]]] = deque()
    with ThreadPoolExecutor(cores) as threads:
        for response in responses:
            waiting.append((response, threads.submit(grade, response)))
            while len(waiting) > 4 * cores or (waiting and waiting[0][1].done()):
                first, score = waiting.popleft()
                yield first, score.result()
        for first, score in waiting:
            yield first, score.result()


def sampling_of(benchmark: dict[str, Any]) -> tuple[Any, ...]:
    """What decides the responses of a benchmark beside the checkpoint."""
    return tuple(benchmark.get(k) for k in ("file", "samples", "chat_template", "temperature"))


def evaluate_benchmark(
    spec: dict[str, Any], name: str, output: Path, sampled: dict[Any, list] | None = None
) -> dict[str, Any]:
    """Counts of one benchmark; every response goes to `<name>.jsonl` with its verdict.

    `sampled` holds the responses of the benchmarks before: another grader of the same prompts gets
    the same ones. Returns {"problems": {"id": [P], "n": [P], "c": [P], "t": [P]}, "tokens": {...},
    "truncated": share}; `t` counts the tokens of each problem's responses, and `problems` has `u`
    [P], the ungradable responses of each, where there are any, `r` [P], where all have a `rating`
    in `extra_info`, `h` [P], minus the summed log-probability of each problem's tokens, where they
    were drawn from the model's own distribution, and `d`, by name [P] sums of the benchmark's
    `details` over each problem's responses, where one without that metric counts nothing.
    """
    from transformers import AutoTokenizer

    sampled = {} if sampled is None else sampled
    model_path = Path(spec["model"])
    tokenizer = AutoTokenizer.from_pretrained(model_path, trust_remote_code=False)
    benchmark = spec["benchmarks"][name]
    own, template = benchmark.get("grader"), benchmark.get("chat_template")
    rules = Rules(own, {}) if own else Rules.of(spec["reward"])
    rows = read_parquet(Path(benchmark["file"]), PROMPT_COLUMNS)
    n = benchmark["samples"]
    ids = [str(row["extra_info"].get("index", i)) for i, row in enumerate(rows)]
    prompts = [p for p in prompt_ids(tokenizer, rows, template) for _ in range(n)]
    own_temperature = benchmark.get("temperature")
    work = spec | {
        "temperature": spec["temperature"] if own_temperature is None else own_temperature,
        "seeds": [request_seed(spec["seed"], i, s) for i in ids for s in range(n)],
        "stop_ids": stop_ids(model_path, tokenizer),
    }
    correct, ungradable, tokens = [0] * len(rows), [0] * len(rows), [0] * len(rows)
    surprise = [0.0] * len(rows)
    details = {key: [0.0] * len(rows) for key in benchmark.get("details", ())}
    truncated = done = 0
    asked = sampling_of(benchmark)
    others = [b for key, b in spec["benchmarks"].items() if key != name]
    shared = asked in map(sampling_of, others)
    before = sampled.get(asked)
    generated = sampled.setdefault(asked, []) if shared else []

    def decoded(responses: Iterable[Any]) -> Iterator[tuple[Any, str]]:
        for response in responses:
            if shared and before is None:
                generated.append(response)
            yield response, str(tokenizer.decode(response[1], skip_special_tokens=True))

    def score_of(response: tuple[Any, str]) -> dict[str, float]:
        (i, *_), text = response
        row = rows[i // n]
        truth = row["reward_model"]["ground_truth"]
        return rules.score(row["data_source"], text, truth, row["extra_info"])

    responses = decoded(before or ENGINES[spec["engine"]](model_path, prompts, work))
    progress = output.with_suffix(".progress.jsonl")
    with output.open("w") as file, progress.open("w", buffering=1) as marks:
        for ((i, token_ids, reason, minus), text), score in graded(rules, responses, score_of):
            correct[i // n] += int(score["acc"])
            ungradable[i // n] += int(score["ungradable"])
            tokens[i // n] += len(token_ids)
            surprise[i // n] += minus
            truncated += int(reason == "length")
            done += 1
            line = {"id": ids[i // n], "sample": i % n, "response": text}
            line |= {"reward": score.pop("score"), "accuracy": score.pop("acc")}
            own = {k: v for k, v in score.items() if v == v}  # not the metrics of other sources
            file.write(json.dumps(line | own) + "\n")
            for key, sums in details.items():
                sums[i // n] += own.get(key, 0.0)
            if done % 500 == 0 or done == len(prompts):
                mark = {"step": done, "data": {"accuracy": sum(correct) / done}}
                marks.write(json.dumps(mark) + "\n")
    problems: dict[str, Any] = {"id": ids, "n": [n] * len(rows), "c": correct, "t": tokens}
    ratings = [row["extra_info"].get("rating") for row in rows]
    if None not in ratings:
        problems["r"] = [float(rating) for rating in ratings]
    if (work["temperature"], work["top_p"], work["top_k"]) == (1, 1, -1):
        problems["h"] = [round(value, 4) for value in surprise]
    if details:
        problems["d"] = details
    return {
        "problems": problems | ({"u": ungradable} if any(ungradable) else {}),
        "tokens": {"prompt": sum(map(len, prompts)), "response": sum(tokens)},
        "truncated": truncated / len(prompts),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=inspect.getdoc(inspect.getmodule(main)))
    parser.add_argument("spec", type=Path, help="JSON file with model, benchmarks and sampling")
    spec_path = parser.parse_args().spec
    spec = read_json(spec_path)
    sampled: dict[Any, list] = {}
    result = {
        name: evaluate_benchmark(spec, name, spec_path.parent / f"{name}.jsonl", sampled)
        for name in spec["benchmarks"]
    }
    write_json(spec_path.parent / "result.json", result)


if __name__ == "__main__":
    main()
