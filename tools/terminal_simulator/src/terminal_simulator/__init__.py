"""A scripted fleet of terminals, written from the standard alone: no code is shared with the platform."""
