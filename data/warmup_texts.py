"""Worked solutions in tags, for fine-tuning before RL: three texts of the same solutions.

Of the article on reward design (Wei Xinyu; see `common/rewards/gemma_gsm8k.py`), which fine-tunes
on LIMO: `published` as its scripts write the text, with no chat template, the instruction behind
the question, and `<answer>` in the place of the closing tag; `fixed`, the same with the tag closed;
`chat`, the prompt of RL and evaluation by the chat template, and the tag closed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from data import prompts


@dataclass(frozen=True)
class Text:
    """`markup`: whether a chat template writes the prompt; `end`: what closes the answer."""

    markup: bool
    end: str


TEXTS = {
    "published": Text(markup=False, end="<answer>"),
    "fixed": Text(markup=False, end="</answer>"),
    "chat": Text(markup=True, end="</answer>"),
}


def rows(
    solved: Iterable[dict[str, Any]], template: str, raw_template: str
) -> dict[str, list[dict[str, Any]]]:
    """By file name (`warmup_<text>`), the rows that `common/plugin/sft_dataset.py` reads.

    `solved`: with `problem`, `solution` and `answer`; `template`: the prompt of RL; `raw_template`:
    the one of the texts without a chat template.
    """
    samples = list(solved)
    found = {}
    for name, text in TEXTS.items():
        chosen = prompts.load(template if text.markup else raw_template)
        found[f"warmup_{name}"] = [row(sample, text, chosen) for sample in samples]
    return found


def row(sample: dict[str, Any], text: Text, template: prompts.Template) -> dict[str, Any]:
    """One worked solution; `sample`: with `problem`, `solution` and `answer`."""
    return {
        "prompt": template.render(sample),
        "markup": text.markup,
        "reasoning": f"<reasoning>\n{sample['solution']}\n</reasoning>\n",
        "answer": f"<answer>\n{sample['answer']}\n{text.end}",
        "template": template.label,
    }
