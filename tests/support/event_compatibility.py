"""What of a contract, JSON Schema or AsyncAPI, may change without breaking those who read what it describes.

Whoever reads knows the released contract, and reads records of before and after a change: so what was released stays as
it is, and only what is optional comes to it (contracts/asyncapi.yaml, Versions).
"""

from typing import Any

EXPLAINING = frozenset({"title", "description", "summary", "info", "asyncapi", "$comment"})
"""Keywords that promise nothing to a program."""

NAMED = frozenset({"properties", "$defs", "channels", "operations", "messages", "schemas"})
"""Keywords whose members have names of ours: others may come to them."""

OPEN_LISTS = frozenset({"dl_reason", "dl_topic", "reason"})
"""Members whose values may become more."""


def breaking_changes(released: Any, current: Any, path: str = "") -> list[str]:
    """What of the released contract is no longer so, each with its place; [] where nobody who reads notices."""
    if isinstance(released, dict) and isinstance(current, dict):
        keywords = sorted((released.keys() | current.keys()) - EXPLAINING)
        return [
            change
            for keyword in keywords
            for change in _of_keyword(keyword, released.get(keyword), current.get(keyword), path)
        ]
    if isinstance(released, list) and isinstance(current, list) and len(released) == len(current):
        return [
            change
            for number, pair in enumerate(zip(released, current, strict=True))
            for change in breaking_changes(*pair, f"{path}/{number}")
        ]
    return [] if _same(released, current) else [f"{path}: was {released!r}, is {current!r}"]


def _of_keyword(keyword: str, released: Any, current: Any, path: str) -> list[str]:
    here = f"{path}/{keyword}"
    if keyword in NAMED:
        was, now = released or {}, current or {}
        gone = [f"{here}/{name}: removed" for name in was if name not in now]
        return gone + [
            change for name in was if name in now for change in breaking_changes(was[name], now[name], f"{here}/{name}")
        ]
    if keyword == "required":
        was, now = set(released or ()), set(current or ())
        absent = [f"{here}/{name}: no longer always there" for name in sorted(was - now)]
        return absent + [f"{here}/{name}: records of before lack it" for name in sorted(now - was)]
    if keyword == "enum" and path.rpartition("/")[2] in OPEN_LISTS and released is not None and current is not None:
        return [f"{here}: {value!r} removed" for value in released if value not in current]
    return breaking_changes(released, current, here)


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON is: 1 is no `true`."""
    return type(one) is type(other) and bool(one == other)
