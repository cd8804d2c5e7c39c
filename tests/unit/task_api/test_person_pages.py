"""The pages of persons of T_SEND_PERSON and T_UPDATE_DEVICE_PERSON (T8). Their bytes stand in
tests/vectors/task_interfaces.json."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from shared.domain.links import LIFE_MS, FileKind
from shared.protocol.apicodes import Apicode
from tests.support.session_values import NOW_MS
from tests.support.task_api import TaskApi, error_code, make_body, read_answer
from tests.support.task_values import TASK_ID

SEND, UPDATE = Apicode.T_SEND_PERSON, Apicode.T_UPDATE_DEVICE_PERSON


@pytest.fixture(params=[SEND, UPDATE])
def apicode(request: pytest.FixtureRequest) -> Apicode:
    return Apicode(request.param)


@pytest.fixture
def api() -> Iterator[TaskApi]:
    made = TaskApi()
    yield made
    made.metrics.close()


async def begin(api: TaskApi, apicode: Apicode, count: int) -> list[str]:
    """A task that names so many persons, whose order is not that of their ids; all of them are known."""
    named = [f"p{number * 37 % 1000:03}" for number in range(count)]
    await api.begin()
    await api.add_naming(TASK_ID, apicode, *named)
    for person_id in named:
        await api.put_person(person_id)
    return named


async def ask(api: TaskApi, apicode: Apicode, param: object) -> Any:
    body = make_body(apicode, param, task_id=TASK_ID)
    return read_answer(await api.endpoint.answer(body), task_id=TASK_ID)


def ids(answer: Any) -> list[str]:
    return [person["personId"] for person in answer["response"]["data"]]


async def test_t8_pages_give_every_person_once_in_the_order_of_the_task(api: TaskApi, apicode: Apicode) -> None:
    named = await begin(api, apicode, 25)
    answers = [await ask(api, apicode, {"currentPage": page, "size": 10}) for page in (1, 2, 3)]
    assert [one for answer in answers for one in ids(answer)] == named
    assert [(answer["response"]["currentPage"], answer["response"]["totalPage"]) for answer in answers] == [
        (1, 3),
        (2, 3),
        (3, 3),
    ]


async def test_t8_a_page_may_be_asked_for_again_and_in_any_order(api: TaskApi, apicode: Apicode) -> None:
    named = await begin(api, apicode, 25)
    for page in (3, 1, 3, 2, 1):
        assert ids(await ask(api, apicode, {"currentPage": page})) == named[(page - 1) * 10 : page * 10]


@pytest.mark.parametrize(
    ("param", "count", "total"),
    [
        ({"currentPage": 1}, 10, 13),
        ({"currentPage": 1, "size": None}, 10, 13),
        ({"currentPage": 1, "size": ""}, 10, 13),
        ({"currentPage": 1, "totalPage": 7}, 10, 13),
        ({"currentPage": 1, "size": 1}, 1, 125),
        ({"currentPage": 1, "size": 100}, 100, 2),
        ({"currentPage": 1, "size": 101}, 100, 2),
        ({"currentPage": 2, "size": 10_000_000}, 25, 2),
        ({"currentPage": "2", "size": "60"}, 60, 3),
        ({"currentPage": 1.0, "size": 2e1}, 20, 7),
        ("{currentPage: 3, 'size': '60',}", 5, 3),
    ],
)
async def test_t8_size_is_10_by_default_and_cut_to_100_and_j2_may_be_text(
    api: TaskApi, param: object, count: int, total: int
) -> None:
    await begin(api, SEND, 125)
    answer = await ask(api, SEND, param)
    assert (len(ids(answer)), answer["response"]["totalPage"]) == (count, total)


@pytest.mark.parametrize("page", [4, 5, 1_000_000, 2**53])
async def test_t8_a_page_past_the_end_is_an_empty_data_list(api: TaskApi, apicode: Apicode, page: int) -> None:
    await begin(api, apicode, 25)
    answer = await ask(api, apicode, {"currentPage": page})
    assert answer["response"] == {"data": [], "currentPage": page, "totalPage": 3}


async def test_t8_the_total_of_nothing_is_0(api: TaskApi, apicode: Apicode) -> None:
    await begin(api, apicode, 0)
    answer = await ask(api, apicode, {"currentPage": 1})
    assert answer["response"] == {"data": [], "currentPage": 1, "totalPage": 0}


@pytest.mark.parametrize(
    ("param", "wrong"),
    [
        (None, "param"),
        ({}, "currentPage"),
        ({"size": 10}, "currentPage"),
        ({"currentPage": None}, "currentPage"),
        ({"currentPage": ""}, "currentPage"),
        ({"currentPage": 0}, "currentPage"),
        ({"currentPage": -1}, "currentPage"),
        ({"currentPage": "0"}, "currentPage"),
        ({"currentPage": 1.5}, "currentPage"),
        ({"currentPage": "one"}, "currentPage"),
        ({"currentPage": True}, "currentPage"),
        ({"currentPage": [1]}, "currentPage"),
        ({"currentPage": 2**53 + 2}, "currentPage"),
        ({"currentPage": 1, "size": 0}, "size"),
        ({"currentPage": 1, "size": -10}, "size"),
        ({"currentPage": 1, "size": "ten"}, "size"),
        ({"currentPage": 1, "size": {}}, "size"),
    ],
)
async def test_t8_a_page_that_is_missing_or_below_1_or_no_number_is_400_02(
    api: TaskApi, apicode: Apicode, param: object, wrong: str
) -> None:
    await begin(api, apicode, 1)
    answer = await ask(api, apicode, param)
    assert error_code(answer) == "400_02"
    assert f": {wrong} " in answer["error"]["errmsg"]


async def test_t8_who_was_deleted_since_is_left_out_and_no_page_shifts(api: TaskApi, apicode: Apicode) -> None:
    named = await begin(api, apicode, 25)
    for gone in (named[3], *named[10:20]):
        await api.persons.delete(gone, NOW_MS)
    pages = [await ask(api, apicode, {"currentPage": page}) for page in (1, 2, 3)]
    assert [ids(page) for page in pages] == [named[:3] + named[4:10], [], named[20:]]
    assert {page["response"]["totalPage"] for page in pages} == {3}


async def test_t8_name_and_face_are_those_of_now_and_links_begin_now(api: TaskApi, apicode: Apicode) -> None:
    await api.begin()
    await api.add_naming(TASK_ID, apicode, "1", "张三/2")
    await api.put_person("1", "旧名")
    await api.put_person("张三/2", face=True)
    await api.put_person("1", "新名 O'Neil")
    api.clock.advance(50)
    await api.ended.read_once()
    answer = await ask(api, apicode, {"currentPage": 1})
    first, second = answer["response"]["data"]
    assert first == {"personId": "1", "name": "新名 O'Neil", "imgUrls": []}
    (link,) = second["imgUrls"]
    assert link == api.links.url(FileKind.FACE, "张三/2", NOW_MS + 50_000)
    assert f"expires={NOW_MS + 50_000 + LIFE_MS}&" in link
    await api.persons.set_face("张三/2", None, 0, NOW_MS)
    assert (await ask(api, apicode, {"currentPage": 1}))["response"]["data"][1]["imgUrls"] == []


async def test_s5_the_response_is_compact_and_not_escaped(api: TaskApi, apicode: Apicode) -> None:
    await api.begin()
    await api.add_naming(TASK_ID, apicode, "1")
    await api.put_person("1", "李四")
    body = (await api.endpoint.answer(make_body(apicode, {"currentPage": 1}, task_id=TASK_ID))).decode()
    expected = '"response":{"data":[{"personId":"1","name":"李四","imgUrls":[]}],"currentPage":1,"totalPage":1},'
    assert expected in body


async def test_a_page_of_many_reads_no_more_of_them_than_the_page(
    api: TaskApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = await begin(api, SEND, 125)
    looked_for: list[Sequence[str]] = []
    find = api.persons.find

    async def watched(person_ids: Sequence[str]) -> Any:
        looked_for.append(person_ids)
        return await find(person_ids)

    async def whole(_task_id: str) -> Sequence[str]:
        raise AssertionError("the whole list was read")

    monkeypatch.setattr(api.persons, "find", watched)
    monkeypatch.setattr(api.tasks, "person_ids", whole)
    assert ids(await ask(api, SEND, {"currentPage": 5})) == named[40:50]
    await ask(api, SEND, {"currentPage": 50})
    assert [list(one) for one in looked_for] == [named[40:50]]


async def test_e1_persons_out_of_reach_are_500_01_and_the_same_page_passes_later(api: TaskApi) -> None:
    named = await begin(api, SEND, 2)
    api.persons.available = False
    assert error_code(await ask(api, SEND, {"currentPage": 1})) == "500_01"
    api.persons.available = True
    assert ids(await ask(api, SEND, {"currentPage": 1})) == named


async def test_design_8_a_page_tells_of_a_person_what_a_terminal_needs_and_no_more(api: TaskApi) -> None:
    await begin(api, SEND, 1)
    answer = await ask(api, SEND, {"currentPage": 1})
    assert json.dumps(sorted(answer["response"]["data"][0])) == '["imgUrls", "name", "personId"]'
