"""What an older key sealed is sealed anew by the command of docs/runbook/sealing-key.md, on real MongoDB; then the old
key is not needed any more."""

import asyncio
import base64
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from console_service.person_wishes import Identities, PersonWish
from console_service.reseal import Resealing, reseal
from shared.domain.identity import IdentityKind
from shared.domain.persons import Person
from shared.domain.sealing import Sealer, UnsealError
from shared.runtime.settings import MongoSettings
from shared.stores.mongo import sealed_values
from shared.stores.mongo.client import Database, open_mongo
from shared.stores.mongo.credentials import MongoCredentialStore
from shared.stores.mongo.indexes import make_indexes
from shared.stores.mongo.persons import MongoPersonStore
from shared.stores.mongo.sealed_values import MongoSealedValues, SealedIdentity
from tests.support.session_values import NOW_MS, make_credential
from tools.k8s_check.rendering import DEPLOY

OLD, NEW = {"k1": bytes(32)}, {"k2": bytes(range(32))}
BOTH: Mapping[str, bytes] = NEW | OLD
IDCARD, PHONE = "330102199003078888", "13812341234"


@pytest.fixture
async def database(mongo_settings: MongoSettings) -> AsyncIterator[Database]:
    async with open_mongo(mongo_settings, "test") as database:
        await make_indexes(database)
        yield database


async def put_person(database: Database, person_id: str, keys: Mapping[str, bytes], **members: Any) -> None:
    wish = PersonWish.model_validate({"name": "张三", **members})
    await MongoPersonStore(database).put_many([Identities(keys).new_person(person_id, wish, None)], NOW_MS)


async def person(database: Database, person_id: str) -> Person:
    return (await MongoPersonStore(database).find([person_id]))[person_id]


async def add_credential(
    database: Database, access_id: str, keys: Mapping[str, bytes], secret: str, **more: Any
) -> None:
    sealed = Sealer(keys).seal(secret, access_id)
    await MongoCredentialStore(database).add_credential(make_credential(access_id, sealed_secret=sealed, **more))


async def secret_of(database: Database, access_id: str, keys: Mapping[str, bytes]) -> str:
    document = await database["credentials"].find_one({"_id": access_id})
    assert document is not None
    return Sealer(keys).open(bytes(document["sealedSecret"]), access_id)


async def fill(database: Database) -> None:
    await add_credential(database, "in-force", OLD, "secret-1")
    await add_credential(database, "revoked", OLD, "secret-2", revoked_at_ms=NOW_MS)
    await add_credential(database, "current", BOTH, "secret-3")
    await put_person(database, "both", OLD, idcardNo=IDCARD, phone=PHONE)
    await put_person(database, "phone-alone", OLD, phone=PHONE)
    await put_person(database, "nothing", OLD)
    await put_person(database, "deleted", OLD, idcardNo=IDCARD)
    # A phone put after the new key came: the two members of one person are under two keys.
    await put_person(database, "mixed", OLD, idcardNo=IDCARD, phone="13900000000")
    await put_person(database, "mixed", BOTH, phone=PHONE)
    assert await MongoPersonStore(database).delete("deleted", NOW_MS) is not None


async def test_after_the_command_the_old_key_is_not_needed(database: Database, mongo_settings: MongoSettings) -> None:
    await fill(database)
    before = await person(database, "both")
    with pytest.raises(UnsealError):
        await secret_of(database, "in-force", NEW)
    code, said = await run_the_command(mongo_settings, BOTH)
    assert code == 0
    assert said.splitlines() == [
        "credentials: 3 looked at, 2 sealed anew, 0 changed meanwhile, 0 do not open",
        "persons: 4 looked at, 3 sealed anew, 0 changed meanwhile, 0 do not open",
        "everything is sealed under the first key",
    ]

    assert [await secret_of(database, name, NEW) for name in ("in-force", "revoked", "current")] == [
        "secret-1",
        "secret-2",
        "secret-3",
    ]
    identities = Identities(NEW)
    assert identities.masked(await person(database, "both")) == ("330*************88", "138****1234")
    assert identities.masked(await person(database, "mixed")) == ("330*************88", "138****1234")
    assert identities.masked(await person(database, "phone-alone")) == (None, "138****1234")
    found = {
        kind: [
            each.person_id for each in await MongoPersonStore(database).find_by_hash(identities.hashes(kind, value), 10)
        ]
        for kind, value in ((IdentityKind.IDCARD, IDCARD), (IdentityKind.PHONE, PHONE))
    }
    assert found == {IdentityKind.IDCARD: ["both", "mixed"], IdentityKind.PHONE: ["both", "mixed", "phone-alone"]}
    # Nothing for terminals or operators to be told of.
    after = await person(database, "both")
    assert (after.changes, after.name_version, after.changed_at_ms) == (
        before.changes,
        before.name_version,
        before.changed_at_ms,
    )


async def test_a_second_run_finds_nothing_to_do(database: Database, mongo_settings: MongoSettings) -> None:
    await fill(database)
    assert await reseal(mongo_settings, BOTH, lambda line: None)
    document = await database["credentials"].find_one({"_id": "in-force"})
    said: list[str] = []
    assert await reseal(mongo_settings, BOTH, said.append)
    assert ["0 sealed anew" in line for line in said] == [True, True]
    assert await database["credentials"].find_one({"_id": "in-force"}) == document


async def test_what_does_not_open_stays_and_is_told(database: Database, mongo_settings: MongoSettings) -> None:
    await add_credential(database, "stranger", {"k0": b"z" * 32}, "secret")
    await put_person(database, "stranger", {"k0": b"z" * 32}, phone=PHONE)
    await put_person(database, "known", OLD, phone=PHONE)
    before = await database["persons"].find_one({"_id": "stranger"})
    code, said = await run_the_command(mongo_settings, BOTH)
    assert code == 1
    assert said.splitlines() == [
        "credentials: 1 looked at, 0 sealed anew, 0 changed meanwhile, 1 do not open",
        "persons: 2 looked at, 1 sealed anew, 0 changed meanwhile, 1 do not open",
        "not everything could be sealed anew",
    ]
    assert PHONE not in said
    assert await database["persons"].find_one({"_id": "stranger"}) == before


async def test_a_change_that_comes_between_is_not_undone(database: Database, mongo_settings: MongoSettings) -> None:
    await put_person(database, "changed", OLD, phone=PHONE)

    class Overtaken(MongoSealedValues):
        async def replace_identity(self, before: SealedIdentity, after: SealedIdentity) -> bool:
            await put_person(database, "changed", BOTH, phone="13900009999")
            return await super().replace_identity(before, after)

    tally = await Resealing(Overtaken(database), BOTH, lambda line: None).identities()
    assert (tally.resealed, tally.overtaken) == (0, 1)
    assert Identities(NEW).masked(await person(database, "changed")) == (None, "139****9999")
    assert await reseal(mongo_settings, BOTH, lambda line: None)


async def test_every_page_is_gone_through(
    database: Database, mongo_settings: MongoSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed_values, "PAGE", 2)
    for number in range(5):
        await put_person(database, f"p{number}", OLD, phone=PHONE)
    said: list[str] = []
    assert await reseal(mongo_settings, BOTH, said.append)
    assert [line.split(",")[0] for line in said] == [f"persons: {count} looked at" for count in (2, 4, 5)]
    assert [Identities(NEW).masked(await person(database, f"p{number}"))[1] for number in range(5)] == [
        "138****1234"
    ] * 5


async def run_the_command(mongo: MongoSettings, keys: Mapping[str, bytes]) -> tuple[int, str]:
    """As the page has it run."""
    page = (DEPLOY.parents[1] / "docs" / "runbook" / "sealing-key.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^ *deploy/k8s/run-as\.sh console (python .*)$", page, re.MULTILINE)
    environment = {
        "MONGO_URL": mongo.url.get_secret_value(),
        "MONGO_DATABASE": mongo.database,
        "SEALING_KEYS": ",".join(f"{key_id}:{base64.b64encode(key).decode()}" for key_id, key in keys.items()),
    }
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, *command.split()[1:]],
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()
