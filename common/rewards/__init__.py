"""Rewards: model text in, number out. Model text is hostile: total functions, bounded time."""
