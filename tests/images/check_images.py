"""Each image holds what it says and nothing that it must not; a sign-in comes through all of them into MongoDB."""

import json
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from shared.runtime.settings import KafkaSettings, MongoSettings, RedisSettings
from stack.http_client import RequestFailed, get, post_json
from tests.architecture.test_images import IMAGES
from tests.images.containers import ROOT, Platform, image, run_tool
from tests.support.builders import PERSON, Vendor, make_sign_in
from tests.support.manifests import SERVICES
from tests.support.terminal import connect
from tests.support.waiting import eventually

COMPILERS = {"cc", "c++", "gcc", "g++", "clang", "tcc", "ld", "as", "make", "rustc", "go"}
READY_SECONDS = 150
TEMPORARY = ("/tmp", "/var/tmp", "/run/lock")  # noqa: S108 (in the container)
LOOK_AROUND = """
import importlib.metadata, json, os, stat
files, own_file_systems = [], {"proc", "sys", "dev"}
for folder, folders, names in os.walk("/"):
    if folder == "/":
        folders[:] = [name for name in folders if name not in own_file_systems]
    files += [os.path.join(folder, name) for name in [*folders, *names]]
files = [file for file in files if not os.path.islink(file)]
print(json.dumps({
    "user": [os.getuid(), os.getgid()],
    "of_another": [file for file in files if os.stat(file).st_mode & (stat.S_ISUID | stat.S_ISGID)],
    "writable": [file for file in files if os.access(file, os.W_OK)],
    "programs": sorted({os.path.basename(file) for file in files if os.access(file, os.X_OK) and os.path.isfile(file)}),
    "packages": sorted([each.name, each.version] for each in importlib.metadata.distributions(path=["/app/packages"])),
    "sbom": json.load(open("/app/sbom.cdx.json")),
}))
"""


def look_around(name: str, *options: str) -> Any:
    return json.loads(run_tool("run", "--rm", "--network=none", *options, image(name), "python", "-c", LOOK_AROUND))


def plain(packages: list[tuple[str, str]]) -> set[tuple[str, str]]:
    return {(re.sub(r"[-_.]+", "-", name).lower(), version) for name, version in packages}


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_holds_the_locked_packages_and_nothing_to_write_to_compile_with_or_to_become_another(
    name: str,
) -> None:
    found = look_around(name)
    locked = (ROOT / "requirements" / f"{IMAGES[name].requirements}.txt").read_text(encoding="utf-8")
    expected = plain(re.findall(r"^([\w.-]+)==([\w.]+)", locked, re.MULTILINE))
    assert plain(found["packages"]) == expected
    assert plain([(each["name"], each["version"]) for each in found["sbom"]["components"]]) == expected
    assert found["user"] == [10001, 10001]
    # What an image of Debian's has in setuid programs is without effect: no-new-privileges.
    assert [file for file in found["of_another"] if file.startswith("/app")] == []
    assert [file for file in found["writable"] if not file.startswith(TEMPORARY)] == []
    assert COMPILERS.isdisjoint(found["programs"])


def test_what_must_not_be_there_would_be_found() -> None:
    as_root = look_around(SERVICES[0], "--user=0:0")
    assert as_root["user"] == [0, 0]
    assert "/app/packages" in as_root["writable"]
    assert "python3.11" in as_root["programs"]


def is_ready(address: str) -> bool:
    try:
        get(f"{address}/readyz")
    except RequestFailed:
        return False
    return True


@pytest.mark.timeout(600)
async def test_from_the_images_alone_a_sign_in_comes_into_mongodb(
    kafka_settings: KafkaSettings, redis_settings: RedisSettings, mongo_settings: MongoSettings, tmp_path: Path
) -> None:
    platform = Platform(kafka_settings, redis_settings, mongo_settings)
    platform.run_to_its_end("topics")
    platform.run_to_its_end("indexes")
    with ExitStack() as running:
        for service in SERVICES:
            running.enter_context(platform.running(service, tmp_path))
        for service in SERVICES:
            admin = platform.address(f"{service.upper().replace('-', '_')}_ADMIN_PORT")
            await eventually(lambda admin=admin: is_ready(admin), READY_SECONDS)
        api = f"{platform.address('CONSOLE_PORT')}/api/v1"
        token = platform.services["console"]["environment"]["CONSOLE_ADMIN_TOKEN"]
        made = post_json(f"{api}/vendors", {"name": "images"}, token=token)
        vendor = Vendor(made["accessId"], made["accessKey"], made["accessSecret"])
        async with connect("127.0.0.1", int(platform.ports["TCP_INGRESS_PORT"])) as terminal:
            session = await terminal.authenticate(vendor, "IMAGES0001")
            answer = await terminal.ask(make_sign_in(vendor.access_secret, "IMAGES0001", session))
            assert answer.success, answer.error

        def stored() -> list[Any]:
            found: list[Any] = json.loads(get(f"{api}/attendance?sn=IMAGES0001", token=token, timeout_seconds=10))[
                "items"
            ]
            return found

        await eventually(lambda: len(stored()) == 1, 60)
        assert stored()[0]["personId"] == PERSON
