"""The HTTPS messages beyond single bodies (tests/vectors/json_messages.json)."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.protocol.apicodes import HTTPS_APICODES, TCP_APICODES
from shared.protocol.errors import ErrorCode, ProtocolError
from shared.protocol.json_messages import encode_json_answer, parse_json_request, task_request_sign_form
from shared.protocol.signatures import SignForm
from tests.unit.shared.protocol import json_texts
from tests.unit.shared.protocol.json_texts import LooseWriter, Writer, merged

SECRET = "93f6218530984c32a3bf2b3d03dcb417"
HEAD = '{"version":"v1.0.0","sn":"1388186","token":"t0","taskid":"7","apicode":"'


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


@given(st.data(), json_texts.pairs)
def test_s3_param_as_an_object_is_signed_in_whatever_text_it_has(
    data: st.DataObject, members: list[tuple[str, Any]]
) -> None:
    text = LooseWriter(data.draw).object(members)
    sign = md5("v1.0.01388186t07T_SEND_PERSON" + text + SECRET)
    request = parse_json_request((HEAD + 'T_SEND_PERSON","param": ' + text + ' ,"sign":"' + sign + '"}').encode())
    assert request.param_text == text
    assert task_request_sign_form(request, request.read_param(), SECRET, pinned=None, remembered=None) == "as-sent"


@given(st.data(), json_texts.pairs)
def test_j4_param_as_a_string_is_signed_in_the_text_that_the_string_says(
    data: st.DataObject, members: list[tuple[str, Any]]
) -> None:
    writer = Writer(data.draw)
    text = writer.object(members)
    sign = md5("v1.0.01388186t07T_SEND_PERSON" + text + SECRET)
    body = HEAD + 'T_SEND_PERSON","param":' + writer.string(text) + ',"sign":"' + sign + '"}'
    request = parse_json_request(body.encode())
    assert request.param_text == text
    assert task_request_sign_form(request, request.read_param(), SECRET, pinned=None, remembered=None) == "as-sent"


@given(st.data(), st.lists(st.lists(st.tuples(json_texts.names, json_texts.scalars), max_size=4), max_size=4))
def test_s4_the_img_of_every_person_is_left_out_of_compact_and_sorted(
    data: st.DataObject, persons: list[list[tuple[str, Any]]]
) -> None:
    writer = Writer(data.draw)
    param = '{"totalPage":1,"data":[' + ",".join(writer.object(person) for person in persons) + "]}"
    kept = [merged([(name, value) for name, value in person if name != "img"]) for person in persons]
    for pinned, signed in (
        (SignForm.COMPACT, '{"totalPage":1,"data":' + json_texts.compact(kept) + "}"),
        (SignForm.SORTED, '{"data":' + json_texts.compact(kept, sort=True) + ',"totalPage":1}'),
    ):
        sign = md5("v1.0.01388186t07T_POST_DEVICE_PERSON" + signed + SECRET)
        body = HEAD + 'T_POST_DEVICE_PERSON","param":' + param + ',"sign":"' + sign + '"}'
        request = parse_json_request(body.encode())
        form = task_request_sign_form(request, request.read_param(), SECRET, pinned=pinned, remembered=None)
        assert form is pinned


def test_s4_data_that_is_no_list_of_objects_is_signed_as_it_is() -> None:
    for param in ('{"data":{"img":"x"}}', '{"data":[1,"img",["img"]]}', '{"data":null}'):
        sign = md5("v1.0.01388186t07T_POST_DEVICE_PERSON" + param + SECRET)
        body = HEAD + 'T_POST_DEVICE_PERSON","param":' + param + ',"sign":"' + sign + '"}'
        request = parse_json_request(body.encode())
        assert task_request_sign_form(request, request.read_param(), SECRET, pinned=None, remembered=None) == "as-sent"


@pytest.mark.parametrize("apicode", sorted(HTTPS_APICODES))
def test_s2_a_wrong_secret_is_a_wrong_sign_on_every_interface(apicode: str) -> None:
    task = "" if apicode in ("T_GET_TASKS", "T_UPDATE_TASKS_STATUS") else "7"
    sign = md5("v1.0.01388186t0" + task + apicode + SECRET)
    request = parse_json_request((HEAD + apicode + '","sign":"' + sign + '"}').encode())
    assert task_request_sign_form(request, None, SECRET, pinned=None, remembered=None) is SignForm.AS_SENT
    assert task_request_sign_form(request, None, "0" * 32, pinned=None, remembered=None) is None


def test_s3_a_request_without_param_keeps_the_remembered_form() -> None:
    sign = md5("v1.0.01388186t07T_CLEAR_DEVICE_PERSON" + SECRET)
    request = parse_json_request((HEAD + 'T_CLEAR_DEVICE_PERSON","sign":"' + sign + '"}').encode())
    form = task_request_sign_form(request, None, SECRET, pinned=None, remembered=SignForm.SORTED)
    assert form is SignForm.SORTED


def test_j1_the_64_brackets_of_a_body_count_its_own() -> None:
    assert parse_json_request(('{"param":{"a":' + "[" * 62 + "]" * 62 + "}}").encode()).param_text is not None
    with pytest.raises(ProtocolError, match="more than 64 brackets"):
        parse_json_request(('{"param":{"a":' + "[" * 63 + "]" * 63 + "}}").encode())


FAILURES = [{"personId": f"{number}", "errCode": "404_1"} for number in range(10_000)]


@pytest.mark.parametrize(
    "param",
    [
        pytest.param(
            {"task": [{"taskId": "7", "status": 1, "failedPersons": FAILURES, "failedFaces": FAILURES}]},
            id="10,000 failed persons and faces (T7)",
        ),
        pytest.param(
            {
                "currentPage": 1,
                "totalPage": 1,
                "data": [
                    {"personId": f"{number}", "name": "张三", "img": "", "hasImg": 1, "phone": "1", "idcardNo": "2"}
                    for number in range(10_000)
                ],
            },
            id="a roster of 10,000 persons on one page (T11)",
        ),
    ],
)
def test_e5_what_a_terminal_with_10_000_persons_says_is_read(param: dict[str, Any]) -> None:
    request = parse_json_request((HEAD + 'T_X","param":' + json.dumps(param) + "}").encode())
    read = request.read_param()
    assert read is not None
    (task,) = read.read_objects("task") or (read,)
    lists = [task.read_objects(name) for name in ("failedPersons", "failedFaces", "data")]
    assert {len(objects) for objects in lists if objects is not None} == {10_000}


def test_e5_a_body_of_200_001_values_is_refused() -> None:
    body = (HEAD + 'T_X","param":{"a":[' + ",".join(["1"] * 199_986) + "]}}").encode()
    parse_json_request(body)
    with pytest.raises(ProtocolError, match="too many values"):
        parse_json_request(body[:-3] + b",1" + b"]}}")


@pytest.mark.parametrize("apicode", sorted(HTTPS_APICODES))
@pytest.mark.parametrize("secret", [SECRET, None])
def test_s5_every_answer_is_json_and_signed_where_the_secret_is_known(apicode: str, secret: str | None) -> None:
    for error in (None, ProtocolError(ErrorCode.PARAM, 'a "quote" and 中文')):
        body = encode_json_answer(apicode=apicode, version="v1.0.0", task_id="7", error=error, secret=secret)
        answer = json.loads(body)
        assert answer["success"] is (error is None)
        assert ("sign" in answer) is (secret is not None)
        assert ("error" in answer) is (error is not None)
        if error is not None:
            assert answer["error"] == {"errorcode": "400_02", "errmsg": 'param 解析失败: a "quote" and 中文'}


@pytest.mark.parametrize("apicode", ["", "X", "t_get_tasks", *sorted(TCP_APICODES)])
def test_s5_an_answer_for_no_t_interface_is_never_signed(apicode: str) -> None:
    error = ProtocolError(ErrorCode.APICODE, "apicode unknown")
    body = encode_json_answer(apicode=apicode, version="v1.0.0", error=error, secret=SECRET)
    assert "sign" not in json.loads(body)


@given(json_texts.values)
def test_s5_the_response_stands_in_the_body_as_it_is_signed(value: Any) -> None:
    response = json_texts.compact({"data": value})
    body = encode_json_answer(apicode="T_GET_TASKS", version="v1.0.0", response=response, secret=SECRET).decode()
    assert f'"response":{response},' in body
    assert json.loads(body)["sign"] == md5("v1.0.0true" + response + SECRET)
