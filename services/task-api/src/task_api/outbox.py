"""The outbox: relays the history of tasks from MongoDB to `device.task.v1`.

1. What is acknowledged by Kafka is marked afterwards: a crash in between relays it again, with the same ce_id.
2. Entries of one task leave in the order of its history; those of a device's tasks in the order of their times.
3. All of a device stand in one partition, and in one reading of the store.
"""

from collections.abc import Sequence

from shared.domain.events import TASK_TOPIC
from shared.domain.tasks import Task
from shared.kafka.producer import BatchProducer
from shared.runtime.tracing import NOT_TRACED, Tracing
from shared.stores.interfaces import Lock, TaskStore, Unrelayed
from task_api.metrics import TaskApiMetrics
from task_api.task_spans import Change, publishing

PAGE = 500
MAX_BATCH_RECORDS = 500


class Outbox:
    """One relay."""

    def __init__(
        self,
        tasks: TaskStore,
        producer: BatchProducer,
        lock: Lock,
        metrics: TaskApiMetrics,
        tracing: Tracing = NOT_TRACED,
    ) -> None:
        self._tasks = tasks
        self._producer = producer
        self._lock = lock
        self._metrics = metrics
        self._tracing = tracing

    async def work(self) -> None:
        """Relays all that is waiting. Raises Unavailable."""
        while unrelayed := await self._tasks.unrelayed(PAGE):
            by_partition: dict[int, list[Unrelayed]] = {}
            for one in unrelayed:
                partition = self._producer.partition_for(TASK_TOPIC, one.task.sn.encode())
                by_partition.setdefault(partition, []).append(one)
            for partition, of_partition in by_partition.items():
                await self._relay(partition, of_partition)
                if not await self._lock.hold():
                    return

    async def _relay(self, partition: int, unrelayed: Sequence[Unrelayed]) -> None:
        changes = changes_in_order(unrelayed)
        for start in range(0, len(changes), MAX_BATCH_RECORDS):
            with publishing(self._tracing, changes[start : start + MAX_BATCH_RECORDS]) as records:
                await self._producer.send(TASK_TOPIC, partition, records)
        self._metrics.relayed += len(changes)
        await self._tasks.mark_relayed({one.task.task_id: len(one.task.history) for one in unrelayed})


def changes_in_order(unrelayed: Sequence[Unrelayed]) -> list[Change]:
    """Every entry that was not relayed (rule 2)."""
    entries: list[tuple[int, str, int, Task]] = []
    for one in unrelayed:
        latest_ms = 0
        for number, entry in enumerate(one.task.history):
            # Two processes' clocks may differ; a history's own order is the truth.
            latest_ms = max(latest_ms, entry.at_ms)
            if number >= one.relayed:
                entries.append((latest_ms, one.task.task_id, number, one.task))
    entries.sort(key=lambda entry: entry[:3])
    return [Change(task, number) for _, _, number, task in entries]
