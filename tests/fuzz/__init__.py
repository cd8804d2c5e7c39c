"""Coverage-guided fuzzing of what reads foreign bytes: a module a target, a corpus each (docs/hostile-input.md)."""
