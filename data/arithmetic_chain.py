"""Arithmetic chains modulo m: the micro task of recipes that need a verifier and a short trace.

A problem is a chain of digits and operators, worked left to right modulo `modulus`:
`2-9-1-4*1=` with the worked solution `2-9=3;3-1=2;2-4=8;8*1=8;`. The answer is the last digit.
All prompts of one setting have the same length, and so do all worked solutions.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from data.micro_task import Draws, resample, write_task

DATA_SOURCE = "arithmetic_chain"
# One held-out pool for every seed: arms and seeds are compared on the same problems.
HELD_OUT_SEED = 20250728


@dataclass(frozen=True)
class Chain:
    """Operands (digits, length k + 1) and operators (length k) of one problem."""

    operands: tuple[int, ...]
    operators: str

    @property
    def prompt(self) -> str:
        parts = [str(self.operands[0])]
        parts += [f"{o}{d}" for o, d in zip(self.operators, self.operands[1:], strict=True)]
        return "".join(parts) + "="

    def solution(self, modulus: int) -> tuple[str, str]:
        """Worked solution (one `a?b=c;` per operator) and the answer, both as text."""
        value, steps = self.operands[0], []
        for operator, operand in zip(self.operators, self.operands[1:], strict=True):
            result = apply(operator, value, operand) % modulus
            steps.append(f"{value}{operator}{operand}={result};")
            value = result
        return "".join(steps), str(value)


def apply(operator: str, left: int, right: int) -> int:
    """`left operator right` for one of `+ - *`."""
    return {"+": left + right, "-": left - right, "*": left * right}[operator]


def sample_chain(rng: random.Random, operations: int, modulus: int) -> Chain:
    """One chain with `operations` operators, digits uniform below `modulus`, operators uniform."""
    operands = tuple(rng.randrange(modulus) for _ in range(operations + 1))
    return Chain(operands, "".join(rng.choice("+-*") for _ in range(operations)))


def check_space(asked: int, operations: int, modulus: int) -> None:
    """Raise ValueError when the space of chains is too small for `asked` different ones."""
    if not 2 <= modulus <= 10 or operations < 1:
        raise ValueError(
            f"recipe.data.options: modulus {modulus} and operations {operations} asked for; "
            "operands are single digits: use a modulus from 2 to 10 and at least 1 operation"
        )
    space = modulus ** (operations + 1) * 3**operations
    if asked > space // 2:
        raise ValueError(
            f"recipe.data.options: {asked} different chains asked of {space} that exist with "
            f"{operations} operations modulo {modulus}: raise operations, or ask less"
        )


def build(
    folder: Path,
    seed: int,
    *,
    operations: int,
    modulus: int,
    train: int,
    validation: int,
    test: int,
    sft: int,
    sft_noisy: int,
    noise: float,
) -> None:
    """Write train, validation, test (prompts), sft and sft_noisy (worked solutions) as parquet.

    Validation and test problems are the same for every seed, and appear in no training file.
    `noise`: probability that a digit of a noisy solution is resampled.
    """
    check_space(validation + test + max(train, sft, sft_noisy), operations, modulus)
    draws = Draws(
        lambda rng: sample_chain(rng, operations, modulus),
        lambda chain: chain,
        HELD_OUT_SEED,
        seed,
        train=train,
        validation=validation,
        test=test,
    )
    digits = "0123456789"[:modulus]

    def worked(chain: Chain, share: float) -> tuple[str, str]:
        return chain.prompt, resample(draws.rng, chain.solution(modulus)[0], share, digits)

    prompts = {
        split: [(chain.prompt, chain.solution(modulus)[1]) for chain in chains]
        for split, chains in draws.splits.items()
    }
    write_task(folder, DATA_SOURCE, prompts, draws.taught(worked, sft, sft_noisy, noise))
