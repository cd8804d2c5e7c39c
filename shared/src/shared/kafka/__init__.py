"""Topics, the producer that survives a refused batch, and the consumer."""
