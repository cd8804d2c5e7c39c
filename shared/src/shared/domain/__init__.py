"""The platform's own rules as values and pure functions: no I/O."""
