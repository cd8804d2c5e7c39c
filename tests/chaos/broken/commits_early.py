"""attendance-writer that commits its offsets before what it read is stored."""

import sys
from unittest.mock import patch

from attendance_writer.__main__ import main
from attendance_writer.loop import Source, WriterLoop

_write_then_commit = WriterLoop._write_then_commit


async def commit_then_write(loop: WriterLoop, source: Source) -> None:
    """In place of WriterLoop._write_then_commit."""
    if loop._batch.next_offsets:
        await source.commit(loop._batch.next_offsets)
    await _write_then_commit(loop, source)


if __name__ == "__main__":
    with patch.object(WriterLoop, "_write_then_commit", commit_then_write):
        sys.exit(main())
