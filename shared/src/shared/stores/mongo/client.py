"""The one file that imports Motor (ADR 0006): the connection, its concerns and deadlines, and what its errors mean.

Motor's successor is PyMongo's own AsyncMongoClient, whose collections have the same methods: the move is this file.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from bson.codec_options import CodecOptions, TypeDecoder, TypeRegistry
from bson.int64 import Int64
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection, AsyncIOMotorDatabase
from opentelemetry.trace import SpanKind
from pymongo import errors, monitoring
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from shared.runtime.settings import MongoSettings
from shared.runtime.telemetry_names import DATABASE_SPAN
from shared.runtime.tracing import SampledSpan, current_span
from shared.runtime.unavailable import Unavailable

Document = dict[str, Any]
Database = AsyncIOMotorDatabase[Document]
Collection = AsyncIOMotorCollection[Document]

# Codes with which a server says that it cannot write now but may again: not primary, shutting down, write concern
# timed out, exceeded time limit, lock not had in time, write conflict, no space left. (MongoDB's error code list.)
# Its internal and unknown errors (1, 8) too: they say nothing of the document, and a full disk may show as no other.
PASSING_CODES = frozenset(
    {1, 6, 7, 8, 24, 46, 50, 64, 89, 91, 112, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436, 14031}
)


class _PlainInt(TypeDecoder):
    """Whole numbers come back as int, as they were stored: msgspec encodes no subclass of it."""

    bson_type = Int64

    def transform_bson(self, value: Int64) -> int:
        """The number."""
        return int(value)


CODEC_OPTIONS: CodecOptions[Document] = CodecOptions(tz_aware=True, type_registry=TypeRegistry([_PlainInt()]))


class _CommandSpans(monitoring.CommandListener):
    """Commands of what is sampled have spans; their values are never shown.

    The driver calls this in the thread that runs the command, which has a copy of the caller's context.
    """

    def __init__(self) -> None:
        self._open: dict[int, SampledSpan] = {}

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        span = current_span()
        if span is None:
            return
        operation = event.command_name
        target = event.command.get("collection" if operation == "getMore" else operation)
        collection = target if isinstance(target, str) else ""  # some commands have none
        name = DATABASE_SPAN.format(operation=operation, collection=collection).rstrip()
        host, port = event.connection_id
        attributes: dict[str, str | int] = {
            **database_attributes(operation, collection),
            "db.namespace": event.database_name,
            "server.address": host,
            **({} if port is None else {"server.port": port}),
        }
        self._open[event.request_id] = span.child(name, SpanKind.CLIENT, attributes)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        if (span := self._open.pop(event.request_id, None)) is not None:
            span.end()

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        if (span := self._open.pop(event.request_id, None)) is not None:
            code = event.failure.get("code")
            if code is not None:
                span.set("db.response.status_code", str(code))
            span.fail("lost" if code is None else str(code))
            span.end()


def database_attributes(operation: str, collection: str) -> dict[str, str]:
    """What the span of a call to MongoDB says, by OpenTelemetry's conventions."""
    attributes = {"db.system.name": "mongodb", "db.operation.name": operation}
    return attributes | ({"db.collection.name": collection} if collection else {})


@asynccontextmanager
async def open_mongo(settings: MongoSettings, app_name: str, *, traced: bool = False) -> AsyncIterator[Database]:
    """The database; writes with majority and journal (design rule 10), every call with a deadline (rule 12).
    `traced`: commands have spans, where there is a current one."""
    client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(
        settings.url.get_secret_value(),
        appname=app_name,
        timeoutMS=settings.timeout_ms,
        serverSelectionTimeoutMS=settings.timeout_ms,
        connectTimeoutMS=settings.timeout_ms,
        event_listeners=[_CommandSpans()] if traced else [],
    )
    try:
        yield client.get_database(
            settings.database,
            codec_options=CODEC_OPTIONS,
            write_concern=WriteConcern("majority", j=True),
            read_concern=ReadConcern("majority"),
        )
    finally:
        client.close()


@contextmanager
def mongo_faults() -> Iterator[None]:
    """Turns what may pass (no server, a lost connection, a change of primary, a timeout) into Unavailable."""
    try:
        yield
    except (errors.ConnectionFailure, errors.WTimeoutError, errors.ExecutionTimeout) as error:
        raise Unavailable(f"MongoDB: {type(error).__name__}") from error
    except errors.BulkWriteError as error:
        # Write errors are the caller's to judge; a failed write concern alone is not known to be stored.
        if error.details.get("writeConcernErrors") and not error.details.get("writeErrors"):
            raise Unavailable("MongoDB: write concern not met") from error
        raise
    except errors.OperationFailure as error:
        if error.code in PASSING_CODES or error.timeout:
            raise Unavailable(f"MongoDB: code {error.code}") from error
        raise
