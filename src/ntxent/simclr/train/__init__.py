"""A training run from its configuration to its folder, resumable at any step."""
