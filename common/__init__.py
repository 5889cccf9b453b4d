"""Library of the recipes: stages, a verl plugin, rewards, evaluation and records."""
