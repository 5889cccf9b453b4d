"""The numbers a paper prints, from a recipe's `paper.csv`.

Columns: metric, variant, benchmark, value, unit, source, status, note. `metric` is `accuracy`,
`pass@<k>`, `response_tokens`, `entropy` or `elo` (with a benchmark), `wall_time_s`, the dotted key
of a configuration value, or else a training metric, meaning its mean over steps. `value` is empty
where the paper prints none; `variant` is an arm, or `before RL` for the model that RL starts from;
with a unit that starts with %, ours is shown times 100; `status` says how sure the value is.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COLUMNS = ["metric", "variant", "benchmark", "value", "unit", "source", "status", "note"]


@dataclass(frozen=True)
class PaperNumber:
    metric: str
    variant: str
    benchmark: str
    value: float | None
    unit: str
    source: str
    status: str
    note: str

    @property
    def factor(self) -> int:
        """What ours is multiplied with to be in the paper's unit."""
        return 100 if self.unit.startswith("%") else 1


def is_score(metric: str) -> bool:
    """Whether a metric is measured on a benchmark (and not a training metric or a setting)."""
    scores = r"accuracy|ungradable|pass@\d+|response_tokens|entropy|elo"
    return re.fullmatch(scores, metric) is not None


def load_paper(path: Path) -> list[PaperNumber]:
    """The published numbers, in the file's order.

    Raises: ValueError naming the line that is not as described above.
    """
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != COLUMNS:
            raise ValueError(f"{path.name}: columns {reader.fieldnames}; write {COLUMNS}")
        numbers: dict[tuple[str, str, str], PaperNumber] = {}
        for cells in reader:
            where = f"{path.name} line {reader.line_num}"
            if None in cells or None in cells.values():
                raise ValueError(f"{where}: not {len(COLUMNS)} cells; quote a cell with commas")
            try:
                value = float(cells["value"]) if cells["value"] else None
            except ValueError:
                raise ValueError(
                    f"{where}: value {cells['value']!r} is no number; leave it empty, write a note"
                ) from None
            fields: dict[str, Any] = {**cells, "value": value}
            number = PaperNumber(**fields)
            if is_score(number.metric) != bool(number.benchmark):
                raise ValueError(f"{where}: accuracy and pass@k, and only they, name a benchmark")
            key = (number.metric, number.benchmark, number.variant)
            if key in numbers:
                raise ValueError(f"{where}: {' '.join(key)} occurs twice; keep one")
            numbers[key] = number
    return list(numbers.values())
