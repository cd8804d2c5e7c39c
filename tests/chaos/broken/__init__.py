"""Services that break the promise on purpose, one way each: the reckoning must find every one of them out."""
