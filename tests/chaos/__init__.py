"""`make chaos`: faults on real processes, and a ledger outside the platform that says whether its promise held.

The promise: a sign-in that was answered with success is in MongoDB exactly once, whatever is killed, cut off or filled
up in between. Nothing here may be imported by the platform.
"""
