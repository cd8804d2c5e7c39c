"""`python -m attendance_writer.rewind`: has the writers read their topics again. Only while none of them runs."""

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from datetime import datetime

from attendance_writer.settings import WriterSettings
from attendance_writer.wiring import SERVICE, TOPICS
from shared.kafka.rereading import GroupAtWork, rewind
from shared.runtime.settings import KafkaSettings
from shared.runtime.unavailable import Unavailable


def _moment(text: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without its zone")
    return int(moment.timestamp() * 1000)


def main(arguments: Sequence[str] | None = None) -> int:
    """Sets the group's offsets; prints how many records of each topic are read again, and stored where they are not.
    Returns the process's exit code."""
    parser = argparse.ArgumentParser(prog="python -m attendance_writer.rewind", description=main.__doc__)
    since = parser.add_mutually_exclusive_group(required=True)
    since.add_argument(
        "--to", type=_moment, metavar="TIME", help="records received since then, as 2026-11-24T06:00:00+08:00"
    )
    since.add_argument("--to-beginning", action="store_true", help="everything that the topics hold")
    chosen = parser.parse_args(arguments)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # that the group has members is said below
    group_id = WriterSettings().group_id
    try:
        counts = asyncio.run(rewind(KafkaSettings(), SERVICE, group_id, TOPICS, chosen.to))
    except (GroupAtWork, Unavailable) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.writelines(f"{topic}: {count} records are read again\n" for topic, count in counts.items())
    return 0


if __name__ == "__main__":
    sys.exit(main())
