"""attendance-writer that commits its offsets before what it read is stored."""

import os
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
    # A batch of a tenth of a second may hold presence alone: what it loses must be sign-ins.
    os.environ["ATTENDANCE_WRITER_BATCH_MAX_AGE_MS"] = "1000"
    with patch.object(WriterLoop, "_write_then_commit", commit_then_write):
        sys.exit(main())
