"""Differentiate a graph: one reverse walk, two rule sets, both open to the user's own rules."""
