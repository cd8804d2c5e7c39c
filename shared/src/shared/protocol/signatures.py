"""Signatures of requests and answers (S1–S6)."""

from enum import StrEnum


class SignForm(StrEnum):
    """Which text of param was signed (S3)."""

    AS_SENT = "as-sent"
    COMPACT = "compact"
    SORTED = "sorted"
