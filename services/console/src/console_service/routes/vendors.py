"""Vendors and their credentials, by way of session, which owns them."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from console_service.audit import Auditor
from console_service.cursors import Cursor, Limit, decode_cursor, encode_cursor
from console_service.operators import Administering
from console_service.session_client import NewCredential, SessionClient, VendorPage
from shared.protocol.signatures import SignForm
from shared.runtime.problems import Problem

LISTED = "vendors"

Id = Annotated[str, Path(min_length=1, max_length=64)]
VendorId = Annotated[str, msgspec.Meta(max_length=64)]
"""Of a cursor, as far as session takes one."""


class NewVendor(BaseModel):
    """A device maker to be admitted."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", str_strip_whitespace=True)

    name: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$", examples=["Hangzhou Gate Works"])
    sign_form: SignForm | None = Field(
        None, description="Pins the text of param that its terminals sign; left out, it is found out per session."
    )
    time_window_seconds: int | None = Field(
        None,
        strict=True,
        ge=1,
        le=86_400,
        description="Clock window of its terminals, where the platform's is too narrow.",
        examples=[900],
    )
    synthetic: bool = Field(
        False,
        strict=True,
        description="True for terminals that only measure the platform: what they sign in is nobody's attendance, and "
        "is kept for a day. It can never be changed.",
    )


def vendor_routes(session: SessionClient, auditor: Auditor) -> APIRouter:
    """The routes under /vendors."""
    router = APIRouter(prefix="/vendors", tags=["vendors"])

    @router.post("", status_code=201, summary="Admit a vendor", response_description="Its first credential")
    async def create_vendor(operator: Administering, wish: NewVendor) -> NewCredential:
        """The answer holds accessSecret, which is shown this once. Where the answer is 503 it is not known whether the
        vendor was made: look for it among the vendors before trying again."""
        what: dict[str, object] = {
            "name": wish.name,
            "signForm": wish.sign_form,
            "timeWindowSeconds": wish.time_window_seconds,
        }
        if wish.synthetic:
            what["synthetic"] = True
        async with auditor.change(operator.who, "vendor.create", None, what) as change:
            created = await session.create_vendor(
                wish.name, wish.sign_form, wish.time_window_seconds, synthetic=wish.synthetic
            )
            change.target = f"{created.vendor_id}/{created.access_id}"
            change.after = what
        return created

    @router.get("", summary="List vendors")
    async def list_vendors(_operator: Administering, cursor: Cursor = None, limit: Limit = 50) -> VendorPage:
        """In order of vendorId, with their credentials, revoked ones too; never with keys or secrets."""
        after = None if cursor is None else decode_cursor(LISTED, cursor, tuple[VendorId])[0]
        page = await session.vendors(after, limit)
        following = None if page.next is None else encode_cursor(LISTED, (page.next,))
        return page.model_copy(update={"next": following})

    @router.post(
        "/{vendorId}/credentials",
        status_code=201,
        summary="Give a vendor a further credential",
        response_description="The new credential",
    )
    async def add_credential(
        operator: Administering, vendor_id: Annotated[Id, Path(alias="vendorId")]
    ) -> NewCredential:
        """The first step of a rotation: old and new stand side by side until the old one is revoked. accessSecret is
        shown this once."""
        async with auditor.change(operator.who, "credential.create", vendor_id, {}) as change:
            created = await session.add_credential(vendor_id)
            if created is None:
                raise Problem(404, "no such vendor")
            change.target = f"{vendor_id}/{created.access_id}"
            change.after = {"revoked": False}
        return created

    @router.delete("/{vendorId}/credentials/{accessId}", status_code=204, summary="Revoke a credential")
    async def revoke(
        operator: Administering,
        vendor_id: Annotated[Id, Path(alias="vendorId")],
        access_id: Annotated[Id, Path(alias="accessId")],
    ) -> Response:
        """Ends every session that was opened with it. Harmless when repeated."""
        async with auditor.change(operator.who, "credential.revoke", f"{vendor_id}/{access_id}", {}) as change:
            if not await session.revoke(vendor_id, access_id):
                raise Problem(404, "this vendor has no such credential")
            change.after = {"revoked": True}
        return Response(status_code=204)

    return router
