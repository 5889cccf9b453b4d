"""The four habits of reasoning (Gandhi et al. 2025, arXiv 2503.01307): counting and producing them.

`rules` counts by patterns; `classify` asks a language model; `priming` has a language model write
sets of solutions, and `checks` says whether a set contains what it claims; `corpus` labels and
rewrites a text corpus.
"""

HABITS = ("verification", "backtracking", "subgoal", "backward")
