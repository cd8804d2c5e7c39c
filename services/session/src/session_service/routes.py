"""The internal HTTP interface: groups of C_AUTHs from ingress (MessagePack), changes from the console (JSON)."""

import hmac
from collections.abc import Awaitable, Callable
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic.alias_generators import to_camel

from session_service.authenticate import Authenticator
from session_service.devices import Devices
from session_service.revocation import Revocation
from session_service.vendors import Issued, Vendors
from shared.domain.attendance import rfc3339
from shared.domain.authentication import AuthCall
from shared.domain.credentials import Credential, Vendor
from shared.domain.devices import DeviceChange
from shared.protocol.signatures import SignForm
from shared.runtime.problems import Problem

PREFIX = "/internal/v1"
MSGPACK = "application/vnd.msgpack"

BEARER = HTTPBearer(auto_error=False, scheme_name="bearer", description="SESSION_INTERNAL_TOKEN.")


class _CamelModel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="forbid")


class NewVendor(_CamelModel):
    """What a vendor is admitted with."""

    name: str = Field(min_length=1, max_length=200)
    sign_form: SignForm | None = Field(None, description="Pins the text of param that is signed (S3)")
    time_window_seconds: int | None = Field(None, ge=1, le=86_400, description="Clock window of its terminals")
    synthetic: bool = Field(False, description="Its terminals measure; what they sign in is nobody's attendance")


class IssuedCredential(_CamelModel):
    """A new credential. accessSecret is shown here and never again."""

    vendor_id: str
    name: str
    access_id: str
    access_key: str
    access_secret: str


class ListedCredential(_CamelModel):
    """A credential without key and secret."""

    access_id: str
    created_at: str
    revoked_at: str | None


class ListedVendor(_CamelModel):
    """A vendor and its credentials, oldest first."""

    vendor_id: str
    name: str
    sign_form: SignForm | None
    time_window_seconds: int | None
    synthetic: bool
    created_at: str
    credentials: list[ListedCredential]


class VendorPage(_CamelModel):
    """Vendors in order of vendorId; `next` goes into `after` for the following page, null on the last one."""

    items: list[ListedVendor]
    next: str | None


class ChangeOfDevice(DeviceChange, frozen=True, kw_only=True, rename="camel"):
    """A change with its device. In a path, clients rewrite an sn like `..`."""

    sn: str


def token_check(internal_token: SecretStr) -> Callable[..., Awaitable[None]]:
    """A dependency for every route: 401 without the right token, compared in constant time."""
    expected = internal_token.get_secret_value().encode()

    async def check(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]) -> None:
        given = credentials.credentials.encode() if credentials else b""
        if not hmac.compare_digest(given, expected):
            raise Problem(401, "the internal bearer token is needed", {"WWW-Authenticate": "Bearer"})

    return check


def authentication_routes(authenticator: Authenticator, max_group: int) -> APIRouter:
    """What ingress asks."""
    router = APIRouter(tags=["authentication"])
    decoder = msgspec.msgpack.Decoder(list[AuthCall])
    encoder = msgspec.msgpack.Encoder()

    @router.post("/authenticate", response_class=Response, summary="Answer a group of C_AUTHs")
    async def authenticate(request: Request) -> Response:
        """MessagePack: a list of AuthCall, answered by a list of AuthReply in the same order."""
        try:
            calls = decoder.decode(await request.body())
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Problem(400, "the body is not a list of AuthCall in MessagePack") from error
        if len(calls) > max_group:
            raise Problem(413, f"a group has at most {max_group} calls")
        return Response(encoder.encode(await authenticator.authenticate(calls)), media_type=MSGPACK)

    return router


def vendor_routes(vendors: Vendors, revocation: Revocation) -> APIRouter:
    """What the console asks."""
    router = APIRouter(prefix="/vendors", tags=["vendors"])

    @router.post("", status_code=201, summary="Admit a vendor")
    async def create_vendor(wish: NewVendor) -> IssuedCredential:
        """The answer holds accessSecret, this once."""
        issued = await vendors.admit(wish.name, wish.sign_form, wish.time_window_seconds, synthetic=wish.synthetic)
        return _issued(issued)

    @router.get("", summary="List vendors")
    async def list_vendors(
        after: Annotated[str | None, Query(max_length=64)] = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
    ) -> VendorPage:
        """In order of vendorId, with their credentials, revoked ones too."""
        found = await vendors.page(after, limit + 1)
        items = [_listed(vendor, credentials) for vendor, credentials in found[:limit]]
        return VendorPage(items=items, next=items[-1].vendor_id if len(found) > limit else None)

    @router.post("/{vendor_id}/credentials", status_code=201, summary="Issue a further credential")
    async def add_credential(vendor_id: str) -> IssuedCredential:
        """The answer holds accessSecret, this once."""
        issued = await vendors.issue(vendor_id)
        if issued is None:
            raise Problem(404, "no such vendor")
        return _issued(issued)

    @router.delete("/{vendor_id}/credentials/{access_id}", status_code=204, summary="Revoke a credential")
    async def revoke(vendor_id: str, access_id: str) -> Response:
        """Ends every session that was opened with it. Harmless when repeated. Where the answer is 503 it may be
        revoked all the same, and its sessions end when Redis is back."""
        if not await revocation.revoke(vendor_id, access_id):
            raise Problem(404, "this vendor has no such credential")
        return Response(status_code=204)

    return router


def device_routes(devices: Devices) -> APIRouter:
    """What the console asks of devices."""
    router = APIRouter(prefix="/devices", tags=["devices"])
    decoder = msgspec.json.Decoder(ChangeOfDevice)

    @router.patch("", status_code=204, summary="Change a device")
    async def change_device(request: Request) -> Response:
        """A JSON object of sn and what is to change: siteId, direction, name, timeWindowSeconds (null clears),
        disabled. The console has looked at the values. Where the answer is 503 the device may be changed all the same,
        and what follows from it is done when the servers are back."""
        try:
            change = decoder.decode(await request.body())
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Problem(400, "the body is not a change of a device in JSON") from error
        if not await devices.change(change.sn, change):
            raise Problem(404, "no such device")
        return Response(status_code=204)

    return router


def _issued(issued: Issued) -> IssuedCredential:
    return IssuedCredential(
        vendor_id=issued.vendor.vendor_id,
        name=issued.vendor.name,
        access_id=issued.credential.access_id,
        access_key=issued.credential.access_key,
        access_secret=issued.access_secret,
    )


def _listed(vendor: Vendor, credentials: list[Credential]) -> ListedVendor:
    return ListedVendor(
        vendor_id=vendor.vendor_id,
        name=vendor.name,
        sign_form=vendor.sign_form,
        time_window_seconds=vendor.time_window_seconds,
        synthetic=vendor.synthetic,
        created_at=rfc3339(vendor.created_at_ms),
        credentials=[
            ListedCredential(
                access_id=one.access_id,
                created_at=rfc3339(one.created_at_ms),
                revoked_at=None if one.revoked_at_ms is None else rfc3339(one.revoked_at_ms),
            )
            for one in credentials
        ],
    )
