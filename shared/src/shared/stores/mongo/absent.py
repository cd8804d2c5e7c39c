"""Adds documents that are absent, in bulk, and says what became of each: how every collection of events is written.

1. A batch written twice, or half written before a crash, ends as if written once: only a duplicate of `_id` counts as
   stored already (design rule 10).
2. A fault that may pass raises Unavailable and the whole batch is written again.
3. A document that can never be stored is named with its reason, and keeps no other from being stored.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import bson
import msgspec
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from pymongo.errors import BulkWriteError

from shared.runtime.unavailable import Unavailable
from shared.stores.mongo.client import PASSING_CODES, Collection, Document, mongo_faults

MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
"""MongoDB's own limit. The driver refuses a whole batch for one document above it, so it is looked at before."""

DUPLICATE_KEY = 11000


class Outcome(msgspec.Struct, frozen=True):
    """What became of each document, by `_id`."""

    new: frozenset[str]
    present: frozenset[str]
    refused: Mapping[str, str]


async def add_absent(collection: Collection, documents: Sequence[Document]) -> Outcome:
    """Inserts those whose `_id` is not there yet; of several with one `_id` the first. Raises Unavailable."""
    encoded: dict[str, RawBSONDocument] = {}
    refused: dict[str, str] = {}
    for document in documents:
        event_id = document["_id"]
        if event_id in encoded or event_id in refused:
            continue
        try:
            raw = bson.encode(document)
        except (BSONError, OverflowError, UnicodeError) as error:
            refused[event_id] = f"cannot be encoded: {type(error).__name__}"
            continue
        if len(raw) > MAX_DOCUMENT_BYTES:
            refused[event_id] = f"{len(raw)} bytes, above MongoDB's limit"
            continue
        encoded[event_id] = RawBSONDocument(raw)
    ids = list(encoded)
    present: set[str] = set()
    if ids:
        try:
            with mongo_faults():
                await collection.insert_many(list(encoded.values()), ordered=False)
        except BulkWriteError as error:
            raise_if_passing(error)
            for fault in error.details["writeErrors"]:
                if is_duplicate_id(fault):
                    present.add(ids[fault["index"]])
                else:
                    # errmsg may repeat the document's values: the code alone is fit for a header and a log
                    refused[ids[fault["index"]]] = f"refused by MongoDB with code {fault['code']}"
    return Outcome(frozenset(ids) - present - refused.keys(), frozenset(present), refused)


def raise_if_passing(error: BulkWriteError) -> None:
    """Raises Unavailable where the bulk write failed for a reason that may pass, so that it is to be repeated."""
    codes = {fault["code"] for fault in error.details["writeErrors"]}
    if error.details.get("writeConcernErrors") or codes & PASSING_CODES:
        raise Unavailable(f"MongoDB: bulk write failed with codes {sorted(codes)}") from error


def is_duplicate_id(fault: Mapping[str, Any]) -> bool:
    """True where a write error says that the document's `_id` is there already; any other unique index is a fault."""
    if fault["code"] != DUPLICATE_KEY:
        return False
    pattern = fault.get("keyPattern")
    if pattern is not None:
        return bool(pattern == {"_id": 1})
    # Servers before 4.2 name the index in the text alone, before the document's own values.
    return str(fault["errmsg"]).partition("index: ")[2].startswith("_id_ ")
