"""Offline evaluation: sample responses of a checkpoint, grade them, count."""
