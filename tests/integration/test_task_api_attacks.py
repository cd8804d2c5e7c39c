"""Hostile requests at task-api behind a real socket: bodies of strangers and of terminals that know their secret,
stolen tokens, links and paths, silent connections. A healthy terminal beside them is answered all the while."""

import asyncio
import gzip
import itertools
import json
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from shared.domain.links import FileKind
from shared.runtime import web
from shared.runtime.lifecycle import Lifecycle
from shared.runtime.web import open_web
from shared.stores.interfaces import NewSession
from tests.support.process_costs import resident_bytes
from tests.support.raw_http import HOST, RawAnswer, exchange, request
from tests.support.session_values import NOW_MS, make_session
from tests.support.task_api import TOKEN, TaskApi, error_code, make_body, read_answer
from tests.support.waiting import eventually

MIB = 1024 * 1024
OTHER_SN, OTHER_TOKEN, OTHER_SECRET = "2777372", "0" * 32, "another vendor's secret of 32 ch"
INTERFACES = (
    "T_GET_TASKS",
    "T_UPDATE_TASKS_STATUS",
    "T_SEND_PERSON",
    "T_UPDATE_DEVICE_PERSON",
    "T_DEL_DEVICE_PERSON",
    "T_CLEAR_DEVICE_PERSON",
    "T_UPDATE_DEVICE_VERSION",
    "T_POST_DEVICE_PERSON",
)


@dataclass(frozen=True)
class Attacked:
    """task-api by its port, and what is behind it."""

    port: int
    api: TaskApi

    async def ask(self, body: bytes, *headers: str) -> Any:
        """The JSON of the one answer, which is HTTP 200 whatever is wrong (E5)."""
        answer = await self.get("POST", "/api/device", "Content-Type: application/json", *headers, body=body)
        assert (answer.status, answer.all("content-type")) == (200, ["application/json"]), answer
        return json.loads(answer.body)

    async def get(self, method: str, target: str, *headers: str, body: bytes = b"") -> RawAnswer:
        """The one answer to any request."""
        answers = await exchange(self.port, request(method, target, *headers, body=body))
        assert len(answers) == 1, (method, target[:100], answers)
        return answers[0]

    async def check_healthy_terminal(self) -> None:
        """A right request succeeds, and its answer is rightly signed."""
        answer = await exchange(
            self.port, request("POST", "/api/device", body=make_body("T_GET_TASKS", {"taskids": []}))
        )
        assert error_code(read_answer(answer[0].body)) == ""


@pytest.fixture
async def attacked() -> AsyncIterator[Attacked]:
    api = TaskApi()
    await api.begin()
    other = make_session(OTHER_TOKEN, OTHER_SN, sealed_secret=api.sealer.seal(OTHER_SECRET, "a1"), vendor_id="v2")
    await api.session_store.open_many([NewSession(session=other, sign="another sign", replay_window_ms=1)])
    async with open_web(Lifecycle(), api.app, HOST, 0) as port:
        yield Attacked(port, api)
    api.metrics.close()


HOSTILE_BODIES = {
    "nothing": b"",
    "10,000 levels of arrays": b'{"param":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "10,000 levels of objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "10,000 levels that never close": b"[" * 10_000,
    "a string of 4 MiB": b'{"sn":"' + b"x" * (4 * MIB) + b'"}',
    "a sign of 4 MiB": b'{"apicode":"T_GET_TASKS","sn":"1388186","token":"t","sign":"' + b"0" * (4 * MIB) + b'"}',
    "a million commas": b"[" + b"," * 1_000_000 + b"]",
    "a million comments": b"/**/" * 1_000_000 + b"{}",
    "a million escapes": b'{"sn":"' + rb"\q" * 1_000_000 + b'"}',
    "NUL": rb'{"sn":"a\u0000b","apicode":"T_GET_TASKS"}',
    "raw NUL": b'{"sn":"a\x00b","apicode":"T_GET_TASKS"}',
    "half a surrogate pair in every field": rb'{"version":"\ud800","sn":"\ud800","token":"\ud800","apicode":"\ud800"}',
    "a number of 10,000 digits": b'{"sn":' + b"9" * 10_000 + b',"apicode":"T_GET_TASKS"}',
    "a taskid of 10,000 digits": b'{"taskid":' + b"9" * 10_000 + b',"apicode":"T_SEND_PERSON","sn":"1388186"}',
    "no UTF-8": b'{"sn":"\xff\xfe"}',
    "UTF-16": '{"sn":"1"}'.encode("utf-16"),
    "gzip": gzip.compress(b'{"sn":"1"}' + b" " * 64 * MIB),
    "a form": b"apicode=T_GET_TASKS&sn=1388186",
    "markup": b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>",
}


@pytest.mark.parametrize("body", HOSTILE_BODIES.values(), ids=HOSTILE_BODIES.keys())
async def test_e5_a_strangers_body_is_answered_with_the_protocols_own_error_and_unsigned(
    attacked: Attacked, body: bytes
) -> None:
    before = resident_bytes(os.getpid())
    answer = await attacked.ask(body)
    assert answer["error"]["errorcode"] in ("400_01", "400_02", "401_01"), answer
    assert "sign" not in answer
    assert len(json.dumps(answer)) < 1000
    assert resident_bytes(os.getpid()) < before + 64 * MIB
    await attacked.check_healthy_terminal()


async def test_e5_a_body_over_the_limit_is_413(attacked: Attacked) -> None:
    head = request("POST", "/api/device", f"Content-Length: {16 * MIB + 1}", content_length=False)
    (answer,) = await exchange(attacked.port, head)
    assert answer.status == 413
    chunk = b"100000\r\n" + b" " * MIB + b"\r\n"
    endless = request("POST", "/api/device", "Transfer-Encoding: chunked", content_length=False) + chunk * 20
    answers = await exchange(attacked.port, endless)
    assert [answer.status for answer in answers] in ([413], [])  # [] where the close outran our reading
    await attacked.check_healthy_terminal()


HOSTILE_PARAMS = [
    "{}",
    "[]",
    '{"taskids":' + "[" * 60 + "]" * 60 + "}",
    '{"taskids":[' + ",".join(f'"{number}"' for number in range(10_000)) + "]}",
    '{"taskids":["' + "9" * 10_000 + '"],"currentPage":' + "9" * 10_000 + "}",
    '{"currentPage":1e308,"size":1e308}',
    '{"currentPage":-9007199254740992,"size":0}',
    '{"currentPage":1,"size":9007199254740992}',
    r'{"task":[{"taskId":"\ud800","status":1}]}',
    r'{"task":[{"taskId":"\u0000","status":1,"failedPersons":[{"personId":"\u0000","code":"$where"}]}]}',
    '{"task":{"taskId":{"$gt":""},"status":{"$ne":0}}}',
    '{"currentPage":1,"totalPage":1000000000,"data":[{"personId":"../../x","name":"' + "n" * 100_000 + '"}]}',
    '{"currentPage":1,"totalPage":1,"data":[' + ",".join(['{"personId":"1"}'] * 20_000) + "]}",
    '{"data":"[{\\"personId\\":1}]","currentPage":"１"}',
    '{"version":"../../../etc/passwd"}',
]


@pytest.mark.parametrize("param", HOSTILE_PARAMS, ids=range(len(HOSTILE_PARAMS)))
async def test_a_hostile_param_that_is_rightly_signed_is_taken_or_refused_and_never_our_fault(
    attacked: Attacked, param: str
) -> None:
    for apicode, task_id in itertools.product(INTERFACES, (None, "6541951958563696640", "9" * 5000)):
        if apicode in ("T_GET_TASKS", "T_UPDATE_TASKS_STATUS") and task_id is not None:
            continue
        signed_param = None if apicode == "T_CLEAR_DEVICE_PERSON" else param
        answer = await attacked.ask(make_body(apicode, signed_param, task_id=task_id))
        assert error_code(answer) in ("", "400_02"), (apicode, answer)
        assert "sign" in answer
    await attacked.check_healthy_terminal()


@pytest.mark.parametrize("apicode", INTERFACES)
async def test_a_stolen_token_is_worth_nothing_to_another_sn_or_without_its_secret(
    attacked: Attacked, apicode: str
) -> None:
    param: object = None if apicode == "T_CLEAR_DEVICE_PERSON" else {}
    task_id = None if apicode in ("T_GET_TASKS", "T_UPDATE_TASKS_STATUS") else "6541951958563696640"
    for what, body, code, signed in (
        ("another sn, the token's secret", make_body(apicode, param, task_id=task_id, sn=OTHER_SN), "400_04", False),
        (
            "another vendor's sn with its own secret",
            make_body(apicode, param, task_id=task_id, sn=OTHER_SN, secret=OTHER_SECRET),
            "400_04",
            False,
        ),
        (
            "the right sn, the thief's secret",
            make_body(apicode, param, task_id=task_id, secret=OTHER_SECRET),
            "400_04",
            True,
        ),
        ("no secret", make_body(apicode, param, task_id=task_id, secret=""), "400_04", True),
        ("a token in capitals", make_body(apicode, param, task_id=task_id, token=TOKEN.upper()), "401_01", False),
        ("a token made up", make_body(apicode, param, task_id=task_id, token="f" * 32), "401_01", False),
        ("a token of another form", make_body(apicode, param, task_id=task_id, token="*"), "401_01", False),
    ):
        answer = await attacked.ask(body)
        assert (error_code(answer), "sign" in answer) == (code, signed), (what, answer)
    await attacked.check_healthy_terminal()


# ── links ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_t8_every_change_of_a_link_leads_nowhere(attacked: Attacked) -> None:
    for person_id in ("1", "2"):
        await attacked.api.put_person(person_id, face=True)
        await attacked.api.faces.put(person_id, b"\xff\xd8\xff a face", "a" * 64)
    link = attacked.api.links.url(FileKind.FACE, "1", NOW_MS).removeprefix("https://devices.example")
    path, _, query = link.partition("?")
    assert (await attacked.get("GET", link)).status == 200
    expires, key, signature = (part.partition("=")[2] for part in query.split("&"))
    changed = [
        f"{path.replace('/1', '/2')}?{query}",
        f"{path.replace('faces', 'firmware')}?{query}",
        f"{path}?expires={int(expires) + 1}&key={key}&signature={signature}",
        f"{path}?expires=0{expires}&key={key}&signature={signature[:-1]}0",
        f"{path}?expires={expires}&key=k2&signature={signature}",
        f"{path}?expires={expires}&key=&signature={signature}",
        f"{path}?expires={expires}&key={key}&signature=",
        f"{path}?expires={expires}&key={key}&signature={signature[:-1]}",
        f"{path}?expires={expires}&key={key}&signature={signature}0",
        f"{path}?expires={'9' * 10_000}&key={key}&signature={signature}",
        f"{path}?expires=-1&key={key}&signature={signature}",
        f"{path}?expires=%F0%9D%9F%8E&key={key}&signature={signature}",
        f"{path}?expires={expires}&key={key}&signature=%ff%00",
        f"{path}?expires=1&{query}&expires=1",
        path,
    ]
    for target in changed:
        assert (await attacked.get("GET", target)).status == 403, target


@pytest.mark.parametrize(
    "trick",
    [
        "../faces/1",
        "..%2ffaces%2f1",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "....//....//etc/passwd",
        "1%00.jpg",
        "1;.jpg",
        "1/../2",
        "%c0%ae%c0%ae/1",
        "C:%5Cboot.ini",
        "",
    ],
)
async def test_a_path_full_of_tricks_is_403_or_404_with_and_without_a_signature(attacked: Attacked, trick: str) -> None:
    link = attacked.api.links.url(FileKind.FACE, "1", NOW_MS)
    query = link.partition("?")[2]
    for kind, suffix in itertools.product(("faces", "firmware", "..", "%2e%2e", "pictures"), ("", f"?{query}")):
        answers = await exchange(attacked.port, request("GET", f"/api/device/files/{kind}/{trick}{suffix}"))
        assert [answer.status for answer in answers] in ([403], [404], [400])
        assert all(b"root:" not in answer.body for answer in answers)


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Range: bytes=0-" + "9" * 10_000, 200),
        ("Range: bytes=" + "9" * 90 + "-", 416),
        ("Range: bytes=-" + "9" * 90, 206),
        ("Range: bytes=" + ",".join(f"{n}-{n}" for n in range(5000)), 200),
        ("Range: bytes=5-2", 200),
        ("Range: bytes=--1", 200),
        ("Range: bytes=\xb2-\xb3", 200),
        ("Range: seconds=1-2", 200),
        ("If-None-Match: " + "W/" * 5000, 200),
        ("If-Range: \xff\xfe\r\nRange: bytes=0-1", 200),
    ],
    ids=range(10),
)
async def test_a_hostile_range_is_ignored_or_cannot_be_satisfied(attacked: Attacked, header: str, status: int) -> None:
    await attacked.api.put_person("1", face=True)
    await attacked.api.faces.put("1", b"\xff\xd8\xff a face", "a" * 64)
    link = attacked.api.links.url(FileKind.FACE, "1", NOW_MS).removeprefix("https://devices.example")
    answer = await attacked.get("GET", link, header)
    assert answer.status == status
    assert len(answer.body) <= 500


# ── connections ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_design_7_a_thousand_connections_that_say_nothing_or_half_a_head_are_closed_and_cost_no_one_an_answer(
    attacked: Attacked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "HEAD_SECONDS", 5.0)
    loop = asyncio.get_running_loop()
    silent: list[socket.socket] = []
    try:
        for number in range(1000):
            one = socket.socket()
            one.setblocking(False)
            silent.append(one)
            await loop.sock_connect(one, (HOST, attacked.port))
            if number % 2:
                await loop.sock_sendall(one, b"POST /api/device HTTP/1.1\r\nHost: x\r\nContent-Le")
        await attacked.check_healthy_terminal()
        await eventually(lambda: all(is_closed(one) for one in silent), 60)
        await attacked.check_healthy_terminal()
    finally:
        for one in silent:
            one.close()


def is_closed(one: socket.socket) -> bool:
    """Whether the platform has closed it."""
    try:
        return one.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
