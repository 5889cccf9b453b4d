"""`python -m common serve reward | reference`: a small model behind HTTP."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from common.services.server import Options, serve

KINDS = ("reward", "reference")


def add_parser(verbs: Any) -> None:
    """Add the verb `serve` to the program's verbs."""
    text = "Serve a reward model or a reference model over HTTP, in vLLM's words."
    more = (
        "reward: any sequence-classification model at /classify, raw scores; reference: a causal "
        "language model at /v1/completions, log-probabilities of given tokens. It ends with the "
        "process that started it."
    )
    sub = verbs.add_parser("serve", help=text, description=f"{text} {more}")
    sub.add_argument("kind", choices=KINDS)
    sub.add_argument("model", help="a folder in the hub's layout, or a name of the hub")
    sub.add_argument("--host", default="127.0.0.1")
    sub.add_argument("--port", type=int, default=0, help="default: any free one")
    sub.add_argument("--address", type=Path, help="a file to write the address to")
    sub.add_argument("--threads", type=int, default=1, help="of torch, default 1")
    sub.add_argument("--device", default="cpu", help="default cpu")
    sub.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    sub.add_argument("--batch", type=int, default=32, help="sequences of a forward pass")
    sub.add_argument("--tokens", type=int, default=8192, help="padded tokens of a forward pass")
    sub.add_argument("--weights", help="of the heads of a reward model: 0.7,0.3")
    sub.add_argument("--keep", action="store_true", help="outlive the process that started it")


def run(arguments: argparse.Namespace) -> int:
    """Serve until stopped."""
    values = {k: v for k, v in vars(arguments).items() if k in Options.__dataclass_fields__}
    if arguments.weights is not None:
        if arguments.kind != "reward":
            raise ValueError("--weights: a reference model has no heads; leave it out")
        values["weights"] = numbers(arguments.weights)
    if arguments.model.startswith(("/", ".")) and not Path(arguments.model).is_dir():
        raise ValueError(f"{arguments.model}: there is no such folder to serve a model from")
    load: Any
    if arguments.kind == "reward":
        from common.services.reward_server import RewardServer as load
    else:
        from common.services.reference_server import ReferenceServer as load
    serve(load, Options(**values))
    return 0


def numbers(text: str) -> tuple[float, ...]:
    """The numbers of a comma-separated list. Raises ValueError when one is none."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"--weights {text}: numbers are wanted, as in 0.7,0.3") from None
