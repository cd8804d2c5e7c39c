"""A terminal of a synthetic vendor: signs in through the front door and measures until its sign-in is stored."""
