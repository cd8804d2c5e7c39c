"""The stores of operators' tokens and of the audit behave alike in memory and in MongoDB."""

from collections.abc import AsyncIterator

import msgspec
import pytest
from pymongo.errors import DuplicateKeyError

from shared.domain.audit import AuditEntry, AuditOutcome
from shared.domain.operators import OperatorToken, Role
from shared.runtime.settings import MongoSettings
from shared.stores.memory_operators import MemoryAuditStore, MemoryOperatorTokenStore
from shared.stores.mongo.audit import MongoAuditStore
from shared.stores.mongo.client import open_mongo
from shared.stores.mongo.indexes import make_indexes
from shared.stores.mongo.operators import MongoOperatorTokenStore
from shared.stores.operator_interfaces import AuditQuery, AuditStore, OperatorTokenStore
from tests.support.session_values import NOW_MS


class Stores(msgspec.Struct):
    """One implementation of each."""

    tokens: OperatorTokenStore
    audit: AuditStore


@pytest.fixture(params=["memory", "mongo"])
async def stores(request: pytest.FixtureRequest) -> AsyncIterator[Stores]:
    if request.param == "memory":
        yield Stores(MemoryOperatorTokenStore(), MemoryAuditStore())
        return
    async with open_mongo(request.getfixturevalue("mongo_settings"), "test") as database:
        await make_indexes(database)
        yield Stores(MongoOperatorTokenStore(database), MongoAuditStore(database))


def make_token(token_id: str, **members: object) -> OperatorToken:
    values = {"digest": f"digest of {token_id}", "role": Role.VIEWER, "created_at_ms": NOW_MS} | members
    return OperatorToken(token_id=token_id, **values)  # type: ignore[arg-type]  # test data


def make_entry(audit_id: str, at_ms: int = NOW_MS, **members: object) -> AuditEntry:
    values = {"who": "admin", "action": "site.create", "target": "s1", "what": {"name": "东门"}} | members
    return AuditEntry(audit_id=audit_id, at_ms=at_ms, **values)  # type: ignore[arg-type]  # test data


# ── tokens ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_token_is_found_by_its_digest_as_it_was_stored(stores: Stores) -> None:
    bound = make_token(
        "t1",
        role=Role.OPERATOR,
        site_ids=frozenset({"s2", "s1"}),
        name="工地办公室",
        expires_at_ms=NOW_MS + 5,
        revoked_at_ms=NOW_MS + 1,
    )
    plain = make_token("t2", role=Role.ADMIN)
    for token in (bound, plain):
        await stores.tokens.add(token)
    assert await stores.tokens.find_by_digest("digest of t1") == bound
    assert await stores.tokens.find_by_digest("digest of t2") == plain
    assert await stores.tokens.find_by_digest("digest of t3") is None


async def test_tokens_are_paged_in_order_of_their_id(stores: Stores) -> None:
    for number in (3, 1, 2):
        await stores.tokens.add(make_token(f"t{number}"))
    assert [token.token_id for token in await stores.tokens.page(None, 2)] == ["t1", "t2"]
    assert [token.token_id for token in await stores.tokens.page("t2", 2)] == ["t3"]


async def test_a_token_is_revoked_once_and_the_first_time_stays(stores: Stores) -> None:
    token = make_token("t1")
    await stores.tokens.add(token)
    await stores.tokens.add(make_token("t2"))
    revoked = msgspec.structs.replace(token, revoked_at_ms=NOW_MS + 1)
    assert await stores.tokens.revoke("t1", NOW_MS + 1) == token
    assert await stores.tokens.revoke("t1", NOW_MS + 2) == revoked
    assert await stores.tokens.find_by_digest(token.digest) == revoked
    assert await stores.tokens.revoke("t9", NOW_MS) is None
    assert await stores.tokens.find_by_digest("digest of t2") == make_token("t2")


async def test_in_mongodb_two_tokens_of_one_digest_cannot_be(mongo_settings: MongoSettings) -> None:
    async with open_mongo(mongo_settings, "test") as database:
        await make_indexes(database)
        tokens = MongoOperatorTokenStore(database)
        await tokens.add(make_token("t1"))
        with pytest.raises(DuplicateKeyError):
            await tokens.add(make_token("t2", digest="digest of t1"))


# ── audit ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_entry_is_intended_until_it_is_finished_with_before_and_after(stores: Stores) -> None:
    entry = make_entry("a1", target=None, what={"siteIds": ["s1"], "name": None, "push": True, "count": 3})
    await stores.audit.begin(entry)
    assert await stores.audit.page(AuditQuery()) == [entry]
    assert entry.outcome is AuditOutcome.INTENDED
    before = {"siteId": None, "at": NOW_MS}
    after = {"siteId": "s1", "nested": {"list": ["a", 1]}}
    await stores.audit.finish("a1", AuditOutcome.DONE, "v1/c1", before, after)
    assert await stores.audit.page(AuditQuery()) == [
        msgspec.structs.replace(entry, outcome=AuditOutcome.DONE, target="v1/c1", before=before, after=after)
    ]


async def test_entries_are_newest_first_and_none_is_given_twice_or_left_out(stores: Stores) -> None:
    for number, at in enumerate([5, 1, 4, 4, 4, 2, 3]):
        await stores.audit.begin(make_entry(f"a{number}", NOW_MS + at))
    pages: list[list[int]] = []
    query = AuditQuery(limit=2)
    while entries := await stores.audit.page(query):
        pages.append([entry.at_ms - NOW_MS for entry in entries])
        query = msgspec.structs.replace(query, after=(entries[-1].at_ms, entries[-1].audit_id))
    assert pages == [[5, 4], [4, 4], [3, 2], [1]]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, ["a4", "a3", "a2", "a1"]),
        ({"who": "token:t1"}, ["a3"]),
        ({"action": "vendor."}, ["a2", "a1"]),
        ({"action": "vendor.create"}, ["a1"]),
        ({"action": "vendo"}, ["a2", "a1"]),
        ({"action": "."}, []),
        ({"target": "s1"}, ["a4", "a3"]),
        ({"from_ms": NOW_MS + 2, "to_ms": NOW_MS + 4}, ["a3", "a2"]),
        ({"who": "admin", "target": "s1"}, ["a4"]),
        ({"who": "admin", "action": "site", "after": (NOW_MS + 4, "a4")}, []),
    ],
)
async def test_a_page_has_what_the_query_names(stores: Stores, members: dict[str, object], expected: list[str]) -> None:
    entries = [
        make_entry("a1", NOW_MS + 1, action="vendor.create", target="v1"),
        make_entry("a2", NOW_MS + 2, action="vendor.rename", target=None),
        make_entry("a3", NOW_MS + 3, who="token:t1"),
        make_entry("a4", NOW_MS + 4),
    ]
    for entry in entries:
        await stores.audit.begin(entry)
    found = await stores.audit.page(AuditQuery(**members))  # type: ignore[arg-type]  # the test's own values
    assert [entry.audit_id for entry in found] == expected
