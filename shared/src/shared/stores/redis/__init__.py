"""Structures in Redis, all of which can be rebuilt (design rule 3)."""
