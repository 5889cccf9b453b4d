"""Countdown worked in symbols, with exactly the asked habits: the micro task of priming.

A puzzle gives three numbers and a target. It is solved left to right as on a pocket calculator:

    ②③④=⑭:[    is answered by    ③+②=⑤+④=⑨<~③*④=⑫+②=⑭!]{③*④+②}

which `expand` writes out in words, so that both scales share graders and counters:

    3 + 2 = 5, 5 + 4 = 9. That is too low. Let me try another way. 3 * 4 = 12, 12 + 2 = 14. That is
    the target.</think>
    <answer> (3 * 4) + 2 </answer>

Every number from 0 to 50 is one character (`common/rewards/countdown_chain.py`). The habits: `<`,
`>` and `!` compare the result with the target (verification), `~` begins another try
(backtracking), `@⑫` sets an intermediate aim (subgoal), `?⑭-②=⑫` works from the target.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations, product

from common.rewards.countdown_chain import NUMBERS, OPERATIONS, write

SIGNS = "+-*"
ALPHABET = NUMBERS + SIGNS + "/=:[]{}<>!~@?."
LARGEST = len(NUMBERS) - 1
ATTEMPT_TOKENS = 9
WORDS = {
    "<": "That is too low. ",
    ">": "That is too high. ",
    "!": "That is the target. ",
    "~": "Let me try another way. ",
}
_N = f"[{NUMBERS}]"
_CHAIN = re.compile(rf"{_N}(?:[-+*/]{_N}={_N})+")
_STEP = re.compile(rf"([-+*/])({_N})=({_N})")
_AIM = re.compile(rf"@({_N})")
_BACK = re.compile(rf"\?({_N})([-+*/])({_N})=({_N})")
_VALUES = {symbol: str(value) for value, symbol in enumerate(NUMBERS)}


@dataclass(frozen=True)
class Attempt:
    """Three numbers in the order of working, and two signs."""

    numbers: tuple[int, int, int]
    signs: tuple[str, str]

    @property
    def results(self) -> tuple[int, int]:
        a, b, c = self.numbers
        first = OPERATIONS[self.signs[0]](a, b)
        return first, OPERATIONS[self.signs[1]](first, c)

    @property
    def worked(self) -> str:
        (a, b, c), (s, t), (x, y) = self.numbers, self.signs, self.results
        return f"{write(a)}{s}{write(b)}={write(x)}{t}{write(c)}={write(y)}"

    @property
    def answer(self) -> str:
        (a, b, c), (s, t) = self.numbers, self.signs
        return f"{write(a)}{s}{write(b)}{t}{write(c)}"

    def needed(self, target: int) -> tuple[str, int] | None:
        """(`sign` and last number undone, what the first step would have to give) for the target;
        None where that is no whole number that can be written."""
        c, sign = self.numbers[2], self.signs[1]
        undo, value = {
            "+": ("-", target - c),
            "-": ("+", target + c),
            "*": ("/", target // c if target % c == 0 else -1),
        }[sign]
        return (undo + write(c), value) if 0 <= value <= LARGEST else None


@lru_cache(maxsize=4096)
def attempts(numbers: tuple[int, int, int]) -> tuple[Attempt, ...]:
    """All attempts whose results can be written, the same calculation once."""
    found, seen = [], set()
    for order, signs in product(sorted(set(permutations(numbers))), product(SIGNS, SIGNS)):
        a, b, c = order
        attempt = Attempt((a, b, c), signs)
        x, y = attempt.results
        first = (min(a, b), max(a, b)) if signs[0] in "+*" else (a, b)
        key = (first, signs, c)
        if 0 <= x <= LARGEST and 0 <= y <= LARGEST and key not in seen:
            seen.add(key)
            found.append(attempt)
    return tuple(found)


@lru_cache(maxsize=4096)
def by_result(numbers: tuple[int, int, int]) -> dict[int, tuple[Attempt, ...]]:
    """The attempts by their last result."""
    found: dict[int, list[Attempt]] = {}
    for attempt in attempts(numbers):
        found.setdefault(attempt.results[1], []).append(attempt)
    return {result: tuple(group) for result, group in found.items()}


@dataclass(frozen=True)
class Puzzle:
    """Numbers in ascending order, and a target that some attempt reaches."""

    numbers: tuple[int, int, int]
    target: int

    @property
    def gold(self) -> dict[str, list[int] | int]:
        """What the Countdown graders want."""
        return {"numbers": list(self.numbers), "target": self.target}

    @property
    def prompt(self) -> str:
        return f"{''.join(map(write, self.numbers))}={write(self.target)}:["

    @property
    def right(self) -> tuple[Attempt, ...]:
        """The attempts that reach the target."""
        return by_result(self.numbers)[self.target]

    @property
    def wrong(self) -> list[Attempt]:
        """Those that do not."""
        groups = by_result(self.numbers).items()
        return [attempt for result, group in groups if result != self.target for attempt in group]


def draw(rng: random.Random, largest: int, targets: tuple[int, int]) -> Puzzle:
    """Three numbers from 1 to `largest` and one of the targets in the range that they reach, both
    uniform; numbers that reach none are drawn again. A target is none of the numbers, so that a
    calculation that begins with it can only be one that works from the target."""
    while True:
        numbers = sorted(rng.randint(1, largest) for _ in range(3))
        a, b, c = numbers
        reached = by_result((a, b, c))
        possible = sorted(t for t in reached if targets[0] <= t <= targets[1] and t not in numbers)
        if possible:
            return Puzzle((a, b, c), rng.choice(possible))


@dataclass(frozen=True)
class Habits:
    """Which habits a set of traces has. `solved`: whether the last attempt reaches the target."""

    verification: bool = False
    backtracking: bool = False
    subgoal: bool = False
    backward: bool = False
    solved: bool = True


SETS = {
    "all_strategies": Habits(True, True, True, True),
    "only_backtracking": Habits(backtracking=True),
    "backtracking_verification": Habits(verification=True, backtracking=True),
    "backtracking_subgoal": Habits(backtracking=True, subgoal=True),
    "backtracking_backward": Habits(backtracking=True, backward=True),
    "incorrect": Habits(True, True, True, True, solved=False),
}
WRONG_FIRST = (0.3, 0.35, 0.35)  # how many wrong attempts come before the last one: 0, 1 or 2


def trace(rng: random.Random, puzzle: Puzzle, habits: Habits, limit: int) -> str:
    """A response of at most `limit` characters, the prompt's `[` left out.

    With backtracking, 0 to 2 wrong attempts come first. An aim and a step from the target stand
    before the first attempt that allows them, and before others by chance.
    """
    while True:
        before = rng.choices(range(3), WRONG_FIRST)[0] if habits.backtracking else 0
        wanted = before + (not habits.solved)
        wrong = puzzle.wrong if wanted else []
        tried = rng.sample(wrong, min(len(wrong), wanted))
        tried += [rng.choice(puzzle.right)] if habits.solved else []
        text = _thought(rng, puzzle, tried, habits) + f"]{{{tried[-1].answer}}}"
        if len(text) <= limit and tried:
            return text


def _thought(rng: random.Random, puzzle: Puzzle, tried: list[Attempt], habits: Habits) -> str:
    parts: list[str] = []
    back, aim = habits.backward, habits.subgoal  # still owed
    for attempt in tried:
        parts.append("~" if parts else "")
        needed = attempt.needed(puzzle.target)
        if needed is not None:
            undone, value = needed
            if back or (habits.backward and rng.random() < 0.25):
                parts.append(f"?{write(puzzle.target)}{undone}={write(value)}")
                back = False
            if aim or (habits.subgoal and rng.random() < 0.5):
                parts.append(f"@{write(value)}")
                aim = False
        parts.append(attempt.worked)
        if habits.verification:
            parts.append(verdict(attempt, puzzle.target))
    return "".join(parts)


def verdict(attempt: Attempt, target: int) -> str:
    """The result beside the target: `<` too low, `>` too high, `!` the target."""
    result = attempt.results[1]
    return "<" if result < target else ">" if result > target else "!"


def emptied(response: str) -> str:
    """The response without its thought."""
    return response[response.index("]") :]


def dotted(response: str) -> str:
    """The response with a dot for each token of its thought but one, as published."""
    thought, _, answer = response.partition("]")
    return "." * max(0, len(thought) - 1) + "]" + answer


def in_symbols(response: str | None) -> bool:
    """Whether a response has symbols alone (the empty one has)."""
    return response is not None and set(response) <= _ALPHABET


_ALPHABET = frozenset(ALPHABET)


def expand(response: str) -> str:
    """A response in words. What is not of the form above stays as it is, symbol by symbol."""
    thought, end, rest = response.partition("]")
    thought = _BACK.sub(_backward, thought)
    thought = _AIM.sub(lambda m: f"First I want to make {_VALUES[m[1]]}. ", thought)
    thought = _CHAIN.sub(_sentence, thought)
    words = "".join(WORDS.get(c, _VALUES.get(c, c)) for c in thought).strip()
    if not end:
        return words
    return f"{words}</think>\n{_answer(rest)}"


def _backward(match: re.Match[str]) -> str:
    target, sign, number, value = (_VALUES.get(part, part) for part in match.groups())
    return f"Working from the target, {target} {sign} {number} = {value}. "


def _sentence(match: re.Match[str]) -> str:
    value, steps = _VALUES[match[0][0]], []
    for sign, number, result in _STEP.findall(match[0]):
        steps.append(f"{value} {sign} {_VALUES[number]} = {_VALUES[result]}")
        value = _VALUES[result]
    return ", ".join(steps) + ". "


def _answer(rest: str) -> str:
    """`{③*④+②}` as `<answer> (3 * 4) + 2 </answer>`: grouped as it is worked."""
    tokens = [_VALUES.get(c, c) for c in rest]
    if len(tokens) < 5 or tokens[0] != "{" or tokens[-1] != "}" or len(tokens) % 2 == 0:
        return "".join({"{": "<answer> ", "}": " </answer>"}.get(t, t) for t in tokens)
    first, *others = tokens[1:-1]
    steps = [f" {sign} {number}" for sign, number in zip(others[::2], others[1::2], strict=True)]
    return f"<answer> {'(' * (len(steps) - 1)}{first}{')'.join(steps)} </answer>"
