"""The device protocol as pure functions over bytes, strings and values: no socket, no clock, no I/O."""
