"""The one file that imports Motor (ADR 0006): the connection, its concerns and deadlines, and what its errors mean.

Motor's successor is PyMongo's own AsyncMongoClient, whose collections have the same methods: the move is this file.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection, AsyncIOMotorDatabase
from pymongo import errors
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from shared.runtime.settings import MongoSettings
from shared.runtime.unavailable import Unavailable

Document = dict[str, Any]
Database = AsyncIOMotorDatabase[Document]
Collection = AsyncIOMotorCollection[Document]

# Codes with which a server says that it cannot write now but may again: not primary, shutting down, write concern
# timed out, exceeded time limit. (MongoDB's error code list.)
_PASSING_CODES = frozenset({6, 7, 50, 64, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436})


@asynccontextmanager
async def open_mongo(settings: MongoSettings, app_name: str) -> AsyncIterator[Database]:
    """The database; writes with majority and journal (design rule 10), every call with a deadline (rule 12)."""
    client: AsyncIOMotorClient[Document] = AsyncIOMotorClient(
        settings.url.get_secret_value(),
        appname=app_name,
        timeoutMS=settings.timeout_ms,
        serverSelectionTimeoutMS=settings.timeout_ms,
        connectTimeoutMS=settings.timeout_ms,
        tz_aware=True,
    )
    try:
        yield client.get_database(
            settings.database,
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
        if error.code in _PASSING_CODES or error.timeout:
            raise Unavailable(f"MongoDB: code {error.code}") from error
        raise
