"""Admits vendors and issues their credentials; the secret leaves here once and is sealed at rest (design rule 8)."""

import secrets
from collections.abc import Sequence

import msgspec

from shared.domain.credentials import Credential, Vendor
from shared.domain.sealing import Sealer
from shared.protocol.signatures import SignForm
from shared.runtime.clock import Clock
from shared.stores.interfaces import CredentialStore


class Issued(msgspec.Struct, frozen=True):
    """A credential just made, with its secret in clear for the one time that it is shown."""

    vendor: Vendor
    credential: Credential
    access_secret: str


class Vendors:
    """What operators do with vendors, but for revoking."""

    def __init__(self, credentials: CredentialStore, sealer: Sealer, clock: Clock) -> None:
        self._credentials = credentials
        self._sealer = sealer
        self._clock = clock

    async def admit(
        self, name: str, sign_form: SignForm | None, time_window_seconds: int | None, *, synthetic: bool = False
    ) -> Issued:
        """A new vendor and its first credential. Raises Unavailable; a vendor without a credential may then stand
        there, which further credentials can be issued for."""
        vendor = Vendor(
            vendor_id=f"v{secrets.token_hex(8)}",
            name=name,
            sign_form=sign_form,
            time_window_seconds=time_window_seconds,
            synthetic=synthetic,
            created_at_ms=self._clock.now_ms(),
        )
        await self._credentials.add_vendor(vendor)
        return await self._issue(vendor)

    async def issue(self, vendor_id: str) -> Issued | None:
        """A further credential, with which a vendor rotates; None where there is no such vendor. Raises Unavailable."""
        vendor = await self._credentials.vendor(vendor_id)
        return None if vendor is None else await self._issue(vendor)

    async def page(self, after: str | None, limit: int) -> Sequence[tuple[Vendor, list[Credential]]]:
        """Vendors in order of their ids, each with its credentials. Raises Unavailable."""
        vendors = await self._credentials.vendors(after, limit)
        credentials = await self._credentials.credentials_of([vendor.vendor_id for vendor in vendors])
        return [(vendor, credentials[vendor.vendor_id]) for vendor in vendors]

    async def _issue(self, vendor: Vendor) -> Issued:
        access_id, access_secret = secrets.token_hex(16), secrets.token_hex(16)
        credential = Credential(
            access_id=access_id,
            vendor_id=vendor.vendor_id,
            access_key=secrets.token_hex(16),
            sealed_secret=self._sealer.seal(access_secret, access_id),
            created_at_ms=self._clock.now_ms(),
        )
        await self._credentials.add_credential(credential)
        return Issued(vendor, credential, access_secret)
