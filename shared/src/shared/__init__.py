"""What the services share: the protocol core, domain rules, stores, events and runtime. It imports no service."""
