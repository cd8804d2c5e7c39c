"""Stores in MongoDB; only client.py knows the driver."""
