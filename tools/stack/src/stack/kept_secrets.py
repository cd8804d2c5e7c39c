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
class SyntheticAccess:
    """What the synthetic terminal authenticates with, and a viewer's token for the console."""

    access_id: str
    access_key: str
    access_secret: str
    console_token: str


@dataclass(frozen=True)
class KeptSecrets:
    """Of one run directory."""

    sealing_keys: str
    admin_token: str
    session_token: str
    vendor: VendorAccess | None = None
    synthetic: SyntheticAccess | None = None


def load_secrets(path: Path) -> KeptSecrets:
    """Those of an earlier run, else new ones, which are kept."""
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        vendor, synthetic = kept.pop("vendor"), kept.pop("synthetic", None)
        return KeptSecrets(
            **kept,
            vendor=VendorAccess(**vendor) if vendor else None,
            synthetic=SyntheticAccess(**synthetic) if synthetic else None,
        )
    drawn = KeptSecrets(
        sealing_keys="k1:" + base64.b64encode(secrets.token_bytes(32)).decode(),
        admin_token=secrets.token_hex(24),
        session_token=secrets.token_hex(24),
    )
    write_private_json(path, asdict(drawn))
    return drawn


def keep_vendor(path: Path, kept: KeptSecrets, vendor: VendorAccess) -> KeptSecrets:
    """Adds the terminals' access: devices stay bound to the vendor with which they first came."""
    return _keep(path, replace(kept, vendor=vendor))


def keep_synthetic(path: Path, kept: KeptSecrets, access: SyntheticAccess) -> KeptSecrets:
    """Adds the synthetic terminal's access, for the same reason."""
    return _keep(path, replace(kept, synthetic=access))


def _keep(path: Path, changed: KeptSecrets) -> KeptSecrets:
    write_private_json(path, asdict(changed))
    return changed
