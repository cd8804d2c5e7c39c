"""The commands of docs/runbook/disaster-recovery.md, as they stand there, on real Kafka and MongoDB; the script
that uses kubectl with one that only writes down what it is told."""

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from shared.domain.events import DEAD_LETTER_TOPIC, SIGN_IN_TOPIC, Record
from shared.runtime.settings import KafkaSettings, MongoSettings
from shared.stores.mongo.client import Database
from shared.stores.mongo.indexes import make_indexes
from tests.support.attendance import event_record, make_event, picture_record, with_picture
from tests.support.manifests import base_objects, deployment
from tests.support.waiting import eventually
from tests.support.writers import TestWriter, fresh_group, opened_database, produce, running
from tools.k8s_check.rendering import DEPLOY

PAGE = (DEPLOY.parents[1] / "docs" / "runbook" / "disaster-recovery.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^ *deploy/k8s/run-as\.sh attendance-writer (python -m .*)$", PAGE, re.MULTILINE)


def command(*words: str) -> list[str]:
    """The one command of the page that has all of these words."""
    (found,) = {each for each in COMMANDS if set(words) <= set(each.split())}
    return shlex.split(found)


async def run(
    arguments: list[str], kafka: KafkaSettings, mongo: MongoSettings, group_id: str = "attendance-writer"
) -> tuple[int, str]:
    """As run-as.sh has it run: exit code and what was said."""
    environment = {
        "KAFKA_BOOTSTRAP": kafka.bootstrap,
        "MONGO_URL": mongo.url.get_secret_value(),
        "MONGO_DATABASE": mongo.database,
        "ATTENDANCE_WRITER_GROUP_ID": group_id,
    }
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, *arguments[1:]],
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


def lost(mongo: MongoSettings, name: str) -> MongoSettings:
    """The database as it is after a restore of a backup that has nothing."""
    return mongo.model_copy(update={"database": f"{mongo.database}_{name}"})


# Kafka takes times up to an hour ahead; so far ahead, nothing is but what these tests produce.
LATER_MS = time.time_ns() // 1_000_000 + 1_800_000


def received_at(record: Record, moment_ms: int) -> Record:
    return msgspec.structs.replace(record, timestamp_ms=moment_ms)


async def test_attendances_since_a_backup_are_stored_again_from_kafka(
    kafka_settings: KafkaSettings, mongo_settings: MongoSettings
) -> None:
    before, after = make_event(sn="recover-1"), with_picture(make_event(sn="recover-2"))
    group_id = await fresh_group(kafka_settings)
    early, late = LATER_MS, LATER_MS + 600_000
    await produce(
        kafka_settings,
        [
            received_at(event_record(before), early),
            received_at(picture_record(after), late),
            received_at(event_record(after), late),
        ],
    )
    async with (
        opened_database(mongo_settings) as database,
        running(TestWriter(kafka_settings, database, group_id)) as writer,
    ):
        await eventually(lambda: writer.counts.stored == 2 and writer.counts.pictures == 1)

    restored = lost(mongo_settings, "restored")
    said_time = command("attendance_writer.rewind", "--to")[-1]
    wanted = datetime.fromtimestamp((late - 1000) / 1000, UTC).isoformat()
    arguments = [wanted if word == said_time else word for word in command("attendance_writer.rewind", "--to")]
    code, said = await run(arguments, kafka_settings, restored, group_id)
    assert code == 0, said
    assert f"{SIGN_IN_TOPIC}: 1 records are read again" in said
    async with opened_database(restored) as database:
        await make_indexes(database)
        async with running(TestWriter(kafka_settings, database, group_id)) as writer:
            await eventually(lambda: writer.counts.stored == 1 and writer.counts.pictures == 1)
        found = [document["_id"] for document in await database["attendance"].find({}).to_list(10)]
    assert found == [after.event_id]


async def test_what_is_stored_already_stays_one_document_when_it_is_read_again(
    kafka_settings: KafkaSettings, mongo_settings: MongoSettings
) -> None:
    event = make_event(sn="recover-twice")
    group_id = await fresh_group(kafka_settings)
    moment = LATER_MS + 700_000
    await produce(kafka_settings, [received_at(event_record(event), moment)])
    async with opened_database(mongo_settings) as database:
        async with running(TestWriter(kafka_settings, database, group_id)) as writer:
            await eventually(lambda: writer.counts.stored == 1)
        to = datetime.fromtimestamp((moment - 1) / 1000, UTC).isoformat()
        code, said = await run(
            ["python", "-m", "attendance_writer.rewind", "--to", to], kafka_settings, mongo_settings, group_id
        )
        assert code == 0, said
        async with running(TestWriter(kafka_settings, database, group_id)) as writer:
            await eventually(lambda: writer.counts.duplicates >= 1)
        assert await database["attendance"].count_documents({"sn": "recover-twice"}) == 1


async def test_a_group_that_would_pass_over_records_of_a_new_cluster_begins_at_its_beginning(
    kafka_settings: KafkaSettings, mongo_settings: MongoSettings
) -> None:
    event = make_event(sn="recover-new-cluster")
    await fresh_group(kafka_settings)
    await produce(kafka_settings, [event_record(event)])
    # Offsets of the old cluster, beyond what the new one has been sent meanwhile.
    group_id = await fresh_group(kafka_settings)
    code, said = await run(
        command("attendance_writer.rewind", "--to-beginning"), kafka_settings, mongo_settings, group_id
    )
    assert code == 0, said
    async with opened_database(lost(mongo_settings, "new_cluster")) as database:
        await make_indexes(database)
        async with running(TestWriter(kafka_settings, database, group_id, max_rejected=1000)):
            await eventually(lambda: is_stored(database, event.event_id), 60)


async def is_stored(database: Database, event_id: str) -> bool:
    return await database["attendance"].find_one({"_id": event_id}) is not None


async def test_offsets_are_not_taken_from_writers_at_work(
    kafka_settings: KafkaSettings, mongo_settings: MongoSettings
) -> None:
    group_id = await fresh_group(kafka_settings)
    async with opened_database(mongo_settings) as database, running(TestWriter(kafka_settings, database, group_id)):
        await produce(kafka_settings, [event_record(make_event(sn="recover-at-work"))])
        await eventually(lambda: is_assigned(database))
        code, said = await run(
            command("attendance_writer.rewind", "--to-beginning"), kafka_settings, mongo_settings, group_id
        )
    assert code == 1
    assert said == f"group {group_id} has members: stop them, and wait until it is left\n"


async def is_assigned(database: Database) -> bool:
    return bool(await database["attendance"].count_documents({"sn": "recover-at-work"}))


async def test_a_time_without_its_zone_is_refused(kafka_settings: KafkaSettings, mongo_settings: MongoSettings) -> None:
    arguments = ["python", "-m", "attendance_writer.rewind", "--to", "2026-11-24T03:00:00"]
    code, said = await run(arguments, kafka_settings, mongo_settings)
    assert code == 2
    assert "--to" in said


# Dead letters


def letter(record: Record, reason: str) -> Record:
    """As the writer of before rejected it."""
    why = (
        ("dl_reason", reason),
        ("dl_detail", "d"),
        ("dl_topic", record.topic),
        ("dl_partition", "0"),
        ("dl_offset", "7"),
    )
    headers = (*record.headers, *((name, value.encode()) for name, value in why))
    return msgspec.structs.replace(record, topic=DEAD_LETTER_TOPIC, headers=headers)


async def test_dead_letters_are_listed_and_stored_where_the_writer_of_today_would(
    kafka_settings: KafkaSettings, mongo_settings: MongoSettings
) -> None:
    event = with_picture(make_event(sn="recover-letter"))
    bad = event_record(make_event(sn="recover-bad"))
    bad = msgspec.structs.replace(bad, value=b'{"personId":"secret-person"')
    await fresh_group(kafka_settings)
    letters = [letter(picture_record(event), "refused-by-the-database"), letter(event_record(event), "value-wrong")]
    stray = msgspec.structs.replace(bad, topic=DEAD_LETTER_TOPIC)
    await produce(kafka_settings, [stray, *letters, letter(bad, "value-wrong")])
    database_settings = lost(mongo_settings, "letters")

    listing = ["python", "-m", "attendance_writer.dead_letter_replay"]
    assert listing in [shlex.split(each) for each in COMMANDS]
    code, said = await run(listing, kafka_settings, database_settings)
    assert code == 0, said
    assert "attendance.sensitive.v1/0 offset 7: refused-by-the-database: can be stored" in said
    assert "attendance.sign-in.v1/0 offset 7: value-wrong: is rejected still: " in said
    assert " records passed over: they do not say where they stood" in said
    assert "secret-person" not in said
    async with opened_database(database_settings) as database:
        await make_indexes(database)
        assert not await is_stored(database, event.event_id)
        for _ in range(2):
            code, said = await run(
                command("attendance_writer.dead_letter_replay", "--store"), kafka_settings, database_settings
            )
            assert code == 0, said
            stored = await database["attendance"].find_one({"_id": event.event_id})
            assert stored is not None
            assert stored["hasImage"] is True
            assert await database["pictures"].count_documents({"_id": event.event_id}) == 1
            assert await database["attendance"].count_documents({"sn": "recover-bad"}) == 0


# kubectl

KUBECTL = """#!/bin/sh
echo "$*" >> "$CALLS"
case "$*" in
  *"get deployment"*) cat "$DEPLOYMENT";;
  *"apply -f"*) cp "$5" "$JOB"; cp "$4" "$JOB" 2>/dev/null || true;;
  *succeeded}{*) echo 1;;
  *succeeded}) echo "$SUCCEEDED";;
  *logs*) echo said by the command;;
esac
"""


def run_as_writer(folder: Path, arguments: list[str], succeeded: str) -> tuple[int, str, list[str], dict[str, object]]:
    kubectl = folder / "kubectl"
    kubectl.write_text(KUBECTL, encoding="utf-8")
    kubectl.chmod(0o700)
    (folder / "deployment").write_text(json.dumps(deployment(base_objects(), "attendance-writer")), encoding="utf-8")
    files = {name.upper(): str(folder / name) for name in ("calls", "deployment", "job")}
    ended = subprocess.run(
        [DEPLOY / "run-as.sh", "attendance-writer", *arguments],
        env={**os.environ, **files, "KUBECTL": str(kubectl), "SUCCEEDED": succeeded},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    calls = (folder / "calls").read_text(encoding="utf-8").splitlines()
    return ended.returncode, ended.stdout, calls, json.loads((folder / "job").read_text(encoding="utf-8"))


def test_a_command_runs_in_a_pod_that_has_all_of_the_writers_but_its_probes(tmp_path: Path) -> None:
    wanted = command("attendance_writer.rewind", "--to-beginning")
    code, said, calls, job = run_as_writer(tmp_path, wanted, "1")
    assert (code, said.splitlines()[-1]) == (0, "said by the command")
    assert all(call.startswith("-n site-access ") for call in calls)
    pod = job["spec"]["template"]["spec"]  # type: ignore[index]  # JSON
    writers = deployment(base_objects(), "attendance-writer")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (of_writers,) = writers["containers"]
    assert container["command"] == wanted
    assert {name: container[name] for name in ("image", "env", "envFrom", "resources", "securityContext")} == {
        name: of_writers[name] for name in ("image", "env", "envFrom", "resources", "securityContext")
    }
    assert not [name for name in container if name.endswith("Probe")]
    assert pod["restartPolicy"] == "Never"
    assert pod["securityContext"] == writers["securityContext"]


def test_a_command_that_fails_is_a_failure_of_the_script(tmp_path: Path) -> None:
    code, _, _, _ = run_as_writer(tmp_path, ["python", "-m", "attendance_writer.rewind", "--to-beginning"], "")
    assert code != 0
