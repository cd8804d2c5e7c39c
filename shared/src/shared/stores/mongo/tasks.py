"""`tasks`: one document a task, its history inside it.

1. A change of state is one update, conditional on the state before: of two racers one wins, and the history has no gap.
2. `open` stands on a task until it ends, `unrelayed` while its history has entries that were not relayed (the outbox):
   partial indexes find both without looking at the millions that have ended.
3. `changes` is the length of the history, so that a mark of the outbox does not hide what was added meanwhile.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pymongo
from pymongo.errors import BulkWriteError

from shared.domain.firmware import FirmwareReference
from shared.domain.tasks import OPEN_STATES, Failure, HistoryEntry, Outcome, Task, TaskState, states_before
from shared.protocol.apicodes import Apicode
from shared.runtime.unavailable import Unavailable
from shared.stores.interfaces import NewTask, TaskQuery, Unrelayed
from shared.stores.mongo.absent import is_duplicate_id, raise_if_passing
from shared.stores.mongo.client import Database, Document, mongo_faults

COLLECTION = "tasks"

_UP, _DOWN = pymongo.ASCENDING, pymongo.DESCENDING
INDEXES = [
    pymongo.IndexModel([("sn", _UP), ("_id", _DOWN)]),
    pymongo.IndexModel([("state", _UP), ("_id", _DOWN)]),
    pymongo.IndexModel([("apicode", _UP), ("_id", _DOWN)]),
    pymongo.IndexModel([("open", _UP), ("_id", _UP)], partialFilterExpression={"open": True}),
    pymongo.IndexModel([("open", _UP), ("sn", _UP)], partialFilterExpression={"open": True}),
    pymongo.IndexModel([("open", _UP), ("expiresAtMs", _UP)], partialFilterExpression={"open": True}),
    pymongo.IndexModel([("unrelayed", _UP), ("sn", _UP)], partialFilterExpression={"unrelayed": True}),
]

_WITHOUT_PERSONS = {"personIds": False}


class MongoTaskStore:
    """TaskStore in MongoDB."""

    def __init__(self, database: Database) -> None:
        self._tasks = database.get_collection(COLLECTION)

    async def add_many(self, new: Sequence[NewTask]) -> None:
        if not new:
            return
        try:
            with mongo_faults():
                await self._tasks.insert_many([_document(one) for one in new], ordered=True)
        except BulkWriteError as error:
            raise_if_passing(error)
            if all(is_duplicate_id(fault) for fault in error.details["writeErrors"]):
                raise Unavailable("MongoDB: a task id is taken") from error
            raise

    async def find(self, task_ids: Sequence[str]) -> dict[str, Task]:
        with mongo_faults():
            found = await self._tasks.find({"_id": {"$in": list(task_ids)}}, _WITHOUT_PERSONS).to_list(None)
        return {document["_id"]: _task(document) for document in found}

    async def person_ids(self, task_id: str) -> Sequence[str] | None:
        with mongo_faults():
            document = await self._tasks.find_one({"_id": task_id}, {"personIds": True})
        return None if document is None else document.get("personIds")

    async def person_ids_page(self, task_id: str, start: int, length: int) -> Sequence[str]:
        # With a member included, the slice is all else that is read.
        members = {"sn": True, "personIds": {"$slice": [start, length]}}
        with mongo_faults():
            document = await self._tasks.find_one({"_id": task_id}, members)
        return [] if document is None else document.get("personIds", [])

    async def change(
        self, task_ids: Sequence[str], entry: HistoryEntry, *, sn: str | None = None, outcome: Outcome | None = None
    ) -> int:
        if not task_ids:
            return 0
        wanted: Document = {"_id": {"$in": list(task_ids)}, "state": {"$in": sorted(states_before(entry.state))}}
        if sn is not None:
            wanted["sn"] = sn
        values: Document = {"state": entry.state.value, "unrelayed": True}
        if outcome is not None:
            values["outcome"] = _outcome_document(outcome)
        update: Document = {"$set": values, "$push": {"history": _entry_document(entry)}, "$inc": {"changes": 1}}
        if entry.state not in OPEN_STATES:
            update["$unset"] = {"open": ""}
        with mongo_faults():
            result = await self._tasks.update_many(wanted, update)
        return int(result.modified_count)

    async def page(self, query: TaskQuery) -> Sequence[Task]:
        wanted: Document = {}
        if query.sns is not None:
            wanted["sn"] = query.sns[0] if len(query.sns) == 1 else {"$in": list(query.sns)}
        if query.state is not None:
            wanted["state"] = query.state.value
        if query.apicode is not None:
            wanted["apicode"] = query.apicode.value
        if query.before is not None:
            wanted["_id"] = {"$lt": query.before}
        return await self._read(wanted, [("_id", _DOWN)], query.limit)

    async def open_of(self, sn: str) -> Sequence[Task]:
        return await self._read({"open": True, "sn": sn}, [("_id", _UP)], 0)

    async def open_ids(self, after: str | None, limit: int) -> Sequence[tuple[str, str]]:
        with mongo_faults():
            found = self._tasks.find({"open": True, "_id": {"$gt": after or ""}}, {"sn": True})
            documents = await found.sort("_id", _UP).limit(limit).to_list(None)
        return [(document["_id"], document["sn"]) for document in documents]

    async def overdue(self, now_ms: int, limit: int) -> Sequence[Task]:
        return await self._read({"open": True, "expiresAtMs": {"$lte": now_ms}}, [("expiresAtMs", _UP)], limit)

    async def unrelayed(self, limit: int) -> Sequence[Unrelayed]:
        with mongo_faults():
            some = await self._tasks.find({"unrelayed": True}, {"sn": True}).limit(limit).to_list(None)
            sns = sorted({document["sn"] for document in some})
            all_of_these = {"unrelayed": True, "sn": {"$in": sns}}
            documents = await self._tasks.find(all_of_these, _WITHOUT_PERSONS).to_list(None) if sns else []
        return [Unrelayed(_task(document), document["relayed"]) for document in documents]

    async def mark_relayed(self, counts: Mapping[str, int]) -> None:
        by_count: dict[int, list[str]] = {}
        for task_id, count in counts.items():
            by_count.setdefault(count, []).append(task_id)
        with mongo_faults():
            for count, task_ids in by_count.items():
                these: Document = {"_id": {"$in": task_ids}}
                # Never backwards: a relay whose lock had expired may come late.
                await self._tasks.update_many(these, {"$max": {"relayed": count}})
                await self._tasks.update_many({**these, "changes": count}, {"$unset": {"unrelayed": ""}})

    async def _read(self, wanted: Document, order: list[tuple[str, int]], limit: int) -> list[Task]:
        with mongo_faults():
            documents = await self._tasks.find(wanted, _WITHOUT_PERSONS).sort(order).limit(limit).to_list(None)
        return [_task(document) for document in documents]


def _document(new: NewTask) -> Document:
    task = new.task
    document: Document = {
        "_id": task.task_id,
        "sn": task.sn,
        "apicode": task.apicode.value,
        "push": task.push,
        "excludeFields": list(task.exclude_fields),
        "namedPersons": task.named_persons,
        "state": task.state.value,
        "history": [_entry_document(entry) for entry in task.history],
        "changes": len(task.history),
        "relayed": 0,
        "unrelayed": True,
    }
    if task.is_open:
        document["open"] = True
    if task.expires_at_ms is not None:
        document["expiresAtMs"] = task.expires_at_ms
    if new.person_ids is not None:
        document["personIds"] = list(new.person_ids)
    if task.firmware is not None:
        document["firmware"] = msgspec.to_builtins(task.firmware)
    return document


def _entry_document(entry: HistoryEntry) -> Document:
    document = {"atMs": entry.at_ms, "state": entry.state.value, "actor": entry.actor, "reason": entry.reason}
    if entry.traceparent is not None:
        document["traceparent"] = entry.traceparent
    return document


def _outcome_document(outcome: Outcome) -> Document:
    return {
        "personCount": outcome.person_count,
        "faceCount": outcome.face_count,
        "failedPersons": _failure_documents(outcome.failed_persons),
        "failedFaces": _failure_documents(outcome.failed_faces),
    }


def _failure_documents(failures: Sequence[Failure]) -> list[Document]:
    return [{"personId": failure.person_id, "code": failure.code} for failure in failures]


def _task(document: Document) -> Task:
    return Task(
        task_id=document["_id"],
        sn=document["sn"],
        apicode=Apicode(document["apicode"]),
        push=document["push"],
        expires_at_ms=document.get("expiresAtMs"),
        exclude_fields=tuple(document["excludeFields"]),
        named_persons=document["namedPersons"],
        firmware=msgspec.convert(document.get("firmware"), FirmwareReference | None),
        history=tuple(
            HistoryEntry(
                at_ms=entry["atMs"],
                state=TaskState(entry["state"]),
                actor=entry["actor"],
                reason=entry["reason"],
                traceparent=entry.get("traceparent"),
            )
            for entry in document["history"]
        ),
        outcome=_outcome(document["outcome"]) if "outcome" in document else Outcome(),
    )


def _outcome(document: Mapping[str, Any]) -> Outcome:
    return Outcome(
        person_count=document["personCount"],
        face_count=document["faceCount"],
        failed_persons=_failures(document["failedPersons"]),
        failed_faces=_failures(document["failedFaces"]),
    )


def _failures(documents: Sequence[Mapping[str, Any]]) -> tuple[Failure, ...]:
    return tuple(Failure(document["personId"], document["code"]) for document in documents)
