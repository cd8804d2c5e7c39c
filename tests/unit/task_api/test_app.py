"""What the web application does beside answering devices: 404, 405, 413, and its settings."""

from collections.abc import Iterator

import pytest

from task_api.settings import TaskApiSettings
from tests.support.asgi import call
from tests.support.task_api import TaskApi, error_code, make_body, read_answer


@pytest.fixture
def api() -> Iterator[TaskApi]:
    made = TaskApi(TaskApiSettings(max_body_bytes=1000))
    yield made
    made.metrics.close()


async def test_t4_the_one_address_answers_a_device(api: TaskApi) -> None:
    await api.begin()
    answer = await call(api.app, "POST", "/api/device", body=make_body("T_GET_TASKS", {"taskids": []}), chunks=7)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert read_answer(answer.body)["response"] == {"tasks": []}


async def test_e5_an_error_is_http_200_with_the_protocols_json(api: TaskApi) -> None:
    answer = await call(api.app, "POST", "/api/device", body=b"hello")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert error_code(answer.json()) == "400_02"


@pytest.mark.parametrize("path", ["/", "/api", "/api/device/", "/api/devices", "/healthz", "/docs", "/openapi.json"])
async def test_e5_everything_elsewhere_is_404(api: TaskApi, path: str) -> None:
    answer = await call(api.app, "POST", path)
    assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS"])
async def test_e5_any_other_method_is_405(api: TaskApi, method: str) -> None:
    answer = await call(api.app, method, "/api/device")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


async def test_e5_a_body_that_says_it_is_over_the_limit_is_413_before_it_is_read(api: TaskApi) -> None:
    answer = await call(api.app, "POST", "/api/device", body=b"x", headers={"content-length": "1001"})
    assert answer.status == 413


async def test_e5_a_body_over_the_limit_is_413_as_soon_as_it_is_counted(api: TaskApi) -> None:
    answer = await call(api.app, "POST", "/api/device", body=b" " * 1001, chunks=10)
    assert answer.status == 413
    assert (await call(api.app, "POST", "/api/device", body=b" " * 1000, chunks=10)).status == 200


@pytest.mark.parametrize("only", ["TASK_API_TLS_CERT_FILE", "TASK_API_TLS_KEY_FILE"])
def test_a_certificate_without_its_key_is_refused(only: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(only, "server.pem")
    with pytest.raises(ValueError, match="go together"):
        TaskApiSettings()
