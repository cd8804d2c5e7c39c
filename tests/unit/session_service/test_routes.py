"""The internal HTTP interface, without a socket."""

import re
from typing import Any

import msgspec
import pytest
from fastapi import FastAPI

from session_service.app import create_app
from session_service.authenticate import Authenticator
from session_service.devices import Devices
from session_service.metrics import SessionMetrics
from session_service.revocation import Revocation
from session_service.settings import SessionSettings
from session_service.vendors import Vendors
from shared.domain.authentication import AuthCall, AuthReply
from shared.domain.devices import Direction, SiteSpan
from shared.domain.sealing import Sealer
from shared.runtime.clock import ManualClock
from shared.stores.memory import (
    MemoryControlStream,
    MemoryCredentialStore,
    MemoryDeviceStore,
    MemoryEndedStore,
    MemorySessionStore,
)
from shared.stores.memory_attendance import MemoryAttendance
from tests.support.asgi import Answer, call
from tests.support.session_values import NOW_MS, make_auth_call, make_device

TOKEN = "internal-token-of-32-characters-x"
HEX_32 = re.compile(r"[0-9a-f]{32}\Z")


class Service:
    """The application over stores in memory."""

    def __init__(self) -> None:
        settings = SessionSettings(internal_token=TOKEN, max_group=3, max_body_bytes=100_000)
        clock, control, metrics = ManualClock(NOW_MS), MemoryControlStream(), SessionMetrics()
        sealer = Sealer({"k1": b"0" * 32})
        self.credentials = MemoryCredentialStore()
        self.devices = MemoryDeviceStore()
        self.ended = MemoryEndedStore(clock, control)
        sessions, attendance = MemorySessionStore(clock, control), MemoryAttendance().attendance_store
        self.app: FastAPI = create_app(
            settings,
            authenticator=Authenticator(
                settings,
                credentials=self.credentials,
                devices=self.devices,
                sessions=sessions,
                sealer=sealer,
                clock=clock,
                metrics=metrics,
            ),
            vendors=Vendors(self.credentials, sealer, clock),
            revocation=Revocation(self.credentials, self.devices, self.ended, clock, metrics),
            devices=Devices(self.devices, self.credentials, sessions, self.ended, attendance, clock, metrics),
            metrics=metrics,
        )

    async def ask(self, method: str, path: str, token: str | None = TOKEN, **request: Any) -> Answer:
        """One request to the internal interface."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return await call(self.app, method, f"/internal/v1{path}", headers=headers, **request)

    async def admit(self, **members: object) -> dict[str, str]:
        """A vendor made over HTTP."""
        answer = await self.ask("POST", "/vendors", json_body={"name": "Maker", **members})
        assert answer.status == 201
        return dict(answer.json())


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN[:-1], TOKEN + "x", "ü"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/authenticate"),
        ("POST", "/vendors"),
        ("GET", "/vendors"),
        ("POST", "/vendors/v1/credentials"),
        ("DELETE", "/vendors/v1/credentials/a1"),
        ("PATCH", "/devices"),
    ],
)
async def test_every_route_needs_the_internal_token(
    service: Service, method: str, path: str, token: str | None
) -> None:
    answer = await service.ask(method, path, token)
    assert (answer.status, answer.headers["content-type"]) == (401, "application/problem+json")
    assert TOKEN not in answer.body.decode()


async def test_a_vendor_is_made_with_a_credential_of_hex_digits(service: Service) -> None:
    made = await service.admit(signForm="sorted", timeWindowSeconds=900)
    assert re.fullmatch(r"v[0-9a-f]{16}", made.pop("vendorId"))
    assert made.pop("name") == "Maker"
    assert sorted(made) == ["accessId", "accessKey", "accessSecret"]
    assert all(HEX_32.match(value) for value in made.values())
    assert len(set(made.values())) == 3


async def test_vendors_are_listed_in_pages_without_keys_or_secrets(service: Service) -> None:
    made = [await service.admit(name=f"Maker {number}", signForm="compact") for number in range(3)]
    revoked = made[0]
    await service.ask("DELETE", f"/vendors/{revoked['vendorId']}/credentials/{revoked['accessId']}")
    first = await service.ask("GET", "/vendors?limit=2")
    second = await service.ask("GET", f"/vendors?limit=2&after={first.json()['next']}")
    items = [*first.json()["items"], *second.json()["items"]]
    in_order = sorted(made, key=lambda vendor: vendor["vendorId"])
    at = "2026-11-24T06:00:00.000Z"
    assert items == [
        {
            "vendorId": vendor["vendorId"],
            "name": vendor["name"],
            "signForm": "compact",
            "timeWindowSeconds": None,
            "synthetic": False,
            "createdAt": at,
            "credentials": [
                {"accessId": vendor["accessId"], "createdAt": at, "revokedAt": at if vendor is revoked else None}
            ],
        }
        for vendor in in_order
    ]
    assert second.json()["next"] is None
    assert len(first.json()["items"]) == 2


async def test_a_vendor_rotates_by_a_further_credential_and_revoking_the_first(service: Service) -> None:
    first = await service.admit()
    answer = await service.ask("POST", f"/vendors/{first['vendorId']}/credentials")
    second = answer.json()
    assert answer.status == 201
    assert (second["vendorId"], second["name"]) == (first["vendorId"], "Maker")
    assert not set(second.values()) & {first["accessId"], first["accessKey"], first["accessSecret"]}
    path = f"/vendors/{first['vendorId']}/credentials/{first['accessId']}"
    assert [(await service.ask("DELETE", path)).status for _ in range(2)] == [204, 204]
    assert list((await service.ended.load()).credentials) == [first["accessId"]]


async def test_unknown_vendors_and_credentials_are_404(service: Service) -> None:
    made, other = await service.admit(), await service.admit()
    answers = [
        await service.ask("POST", "/vendors/v0/credentials"),
        await service.ask("DELETE", f"/vendors/{made['vendorId']}/credentials/{'0' * 32}"),
        await service.ask("DELETE", f"/vendors/{other['vendorId']}/credentials/{made['accessId']}"),
    ]
    assert [answer.status for answer in answers] == [404, 404, 404]
    assert (await service.ended.load()).credentials == {}


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"name": ""},
        {"name": "x" * 201},
        {"name": "x", "signForm": "other"},
        {"name": "x", "timeWindowSeconds": 0},
        {"name": "x", "timeWindowSeconds": 86_401},
        {"name": "x", "misspelt": 1},
    ],
)
async def test_a_vendor_that_cannot_be_is_a_problem_document(service: Service, wish: dict[str, object]) -> None:
    answer = await service.ask("POST", "/vendors", json_body=wish)
    assert (answer.status, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json()["errors"]
    assert (await service.ask("GET", "/vendors")).json()["items"] == []


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x"])
async def test_a_limit_that_cannot_be_is_a_problem_document(service: Service, query: str) -> None:
    assert (await service.ask("GET", f"/vendors?{query}")).status == 422


async def test_a_server_that_is_away_is_503(service: Service) -> None:
    made = await service.admit()
    service.ended.available = False
    path = f"/vendors/{made['vendorId']}/credentials/{made['accessId']}"
    assert (await service.ask("DELETE", path)).status == 503
    service.credentials.available = False
    assert (await service.ask("GET", "/vendors")).status == 503
    assert (await service.ask("POST", "/vendors", json_body={"name": "x"})).status == 503


@pytest.mark.parametrize("sn", ["1388186", "a/b", ".", ".."])
async def test_a_device_is_changed_by_what_the_body_names(service: Service, sn: str) -> None:
    service.devices.put(make_device(sn, name="Gate", time_window_seconds=90))
    body = {"sn": sn, "siteId": "s1", "direction": "in", "name": None, "disabled": True}
    assert (await service.ask("PATCH", "/devices", json_body=body)).status == 204
    assert (await service.devices.find([sn]))[sn] == make_device(
        sn,
        time_window_seconds=90,
        site_history=(SiteSpan(0, "s1", Direction.IN),),
        disabled=True,
        disabled_at_ms=NOW_MS,
        changed_at_ms=NOW_MS,
    )
    assert (await service.ended.load()).devices == {sn: NOW_MS}


async def test_a_device_that_nobody_knows_is_404_and_none_is_made(service: Service) -> None:
    assert (await service.ask("PATCH", "/devices", json_body={"sn": "1", "name": "Gate"})).status == 404
    assert await service.devices.find(["1"]) == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"sn":"1","disabled":null}',
        b'{"sn":"1","direction":"up"}',
        b'{"sn":"1","name":1}',
        b'{"name":"Gate"}',
        b"\xff",
    ],
)
async def test_a_body_that_is_no_change_of_a_device_is_400(service: Service, body: bytes) -> None:
    service.devices.put(make_device("1"))
    answer = await service.ask("PATCH", "/devices", body=body)
    assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")
    assert await service.devices.find(["1"]) == {"1": make_device("1")}


async def test_a_change_with_redis_away_is_503(service: Service) -> None:
    service.devices.put(make_device("1"))
    service.ended.available = False
    assert (await service.ask("PATCH", "/devices", json_body={"sn": "1", "disabled": True})).status == 503
    assert (await service.devices.find(["1"]))["1"].disabled


def a_group(made: dict[str, str], size: int) -> bytes:
    """A group as ingress sends it."""
    keys = (made["accessId"], made["accessKey"], made["accessSecret"])
    calls = [make_auth_call(*keys, f"sn-{number}", time_stamp="20261124140000") for number in range(size)]
    return msgspec.msgpack.encode(calls)


async def test_a_group_is_answered_in_message_pack_and_in_order(service: Service) -> None:
    body = a_group(await service.admit(), 3)
    answer = await service.ask("POST", "/authenticate", body=body)
    replies = msgspec.msgpack.decode(answer.body, type=list[AuthReply])
    assert answer.status == 200
    assert [reply.session.sn for reply in replies if reply.session] == ["sn-0", "sn-1", "sn-2"]


async def test_a_group_that_is_too_large_is_413(service: Service) -> None:
    made = await service.admit()
    assert (await service.ask("POST", "/authenticate", body=a_group(made, 4))).status == 413
    assert (await service.ask("POST", "/authenticate", body=b"x" * 100_001)).status == 413


@pytest.mark.parametrize(
    "body",
    [b"", b"\xc1", b"[]", msgspec.msgpack.encode([1]), msgspec.msgpack.encode(["a"])[:-1], b"\x91\xa1\xff"],
)
async def test_a_body_that_is_no_group_is_400(service: Service, body: bytes) -> None:
    answer = await service.ask("POST", "/authenticate", body=body)
    assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")


async def test_the_interface_describes_itself(service: Service) -> None:
    answer = await call(service.app, "GET", "/openapi.json")
    assert sorted(answer.json()["paths"]) == [
        "/internal/v1/authenticate",
        "/internal/v1/devices",
        "/internal/v1/vendors",
        "/internal/v1/vendors/{vendor_id}/credentials",
        "/internal/v1/vendors/{vendor_id}/credentials/{access_id}",
    ]


def test_a_call_is_sent_as_ingress_and_session_agreed() -> None:
    sent = make_auth_call("a", "k", "s", time_stamp="20261124140000")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode([sent]), type=list[AuthCall]) == [sent]
