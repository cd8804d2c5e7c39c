"""A server's certificate, taken anew where its files change: it is renewed while the process runs."""

import asyncio
import logging
import ssl
from pathlib import Path

log = logging.getLogger(__name__)

LOOK_SECONDS = 60.0


async def follow_certificate(context: ssl.SSLContext, cert_file: str, key_file: str | None) -> None:
    """Loads certificate and key into `context` whenever they have changed; connections from then on are served with
    them. What cannot be used is logged and tried again; the one before stays in use."""
    paths = [Path(file) for file in (cert_file, key_file) if file is not None]
    seen = _stamps(paths)
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        stamps = _stamps(paths)
        if stamps == seen:
            continue
        try:
            # In one that serves nobody first: a key that does not fit would take the old one out of the other.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert_file, key_file)
            context.load_cert_chain(cert_file, key_file)
        except OSError as error:
            log.warning("the new TLS certificate %s cannot be used, the one before stays: %s", cert_file, error)
            continue
        seen = stamps
        log.info("TLS certificate %s was renewed", cert_file)


def _stamps(paths: list[Path]) -> list[tuple[int, int] | None]:
    """What tells a file from the one before it. A Secret's files are links that come to lead elsewhere."""
    return [_stamp(path) for path in paths]


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino
