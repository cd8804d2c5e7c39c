"""The secrets that a stack draws once and keeps in secrets.json: without the sealing key, kept data is unreadable."""

import base64
import json
import secrets
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from stack.run_directory import write_private_json


@dataclass(frozen=True)
class VendorAccess:
    """What the simulated terminals authenticate with."""

    access_id: str
    access_key: str
    access_secret: str


@dataclass(frozen=True)
class KeptSecrets:
    """Of one run directory."""

    sealing_keys: str
    admin_token: str
    session_token: str
    vendor: VendorAccess | None = None


def load_secrets(path: Path) -> KeptSecrets:
    """Those of an earlier run, else new ones, which are kept."""
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        vendor = kept.pop("vendor")
        return KeptSecrets(**kept, vendor=VendorAccess(**vendor) if vendor else None)
    drawn = KeptSecrets(
        sealing_keys="k1:" + base64.b64encode(secrets.token_bytes(32)).decode(),
        admin_token=secrets.token_hex(24),
        session_token=secrets.token_hex(24),
    )
    write_private_json(path, asdict(drawn))
    return drawn


def keep_vendor(path: Path, kept: KeptSecrets, vendor: VendorAccess) -> KeptSecrets:
    """Adds the terminals' access: devices stay bound to the vendor with which they first came."""
    changed = replace(kept, vendor=vendor)
    write_private_json(path, asdict(changed))
    return changed
