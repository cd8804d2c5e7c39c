"""Vendors, credentials and devices are session's: the console asks it over its internal HTTP interface."""

import operator
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import quote

import aiohttp
from opentelemetry.trace import SpanKind
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from console_service.settings import ConsoleSettings
from console_service.times import Moment
from shared.protocol.signatures import SignForm
from shared.runtime.http_client_spans import answered, call_attributes
from shared.runtime.telemetry_names import HTTP_CLIENT_SPAN
from shared.runtime.tracing import TRACEPARENT, child_of, current_span
from shared.runtime.unavailable import Unavailable


class _CamelModel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)


class VendorCredential(_CamelModel):
    """A credential without its key and secret."""

    access_id: str = Field(examples=["0c5b7f0e8d3a4c21b6e4f9a1d2c3b4a5"])
    created_at: Moment
    revoked_at: Moment | None = Field(description="From then on its terminals are answered 401_02.")


class Vendor(_CamelModel):
    """A device maker that the operators have admitted."""

    vendor_id: str = Field(examples=["v5f1c2a90b3d4e678"])
    name: str = Field(examples=["Hangzhou Gate Works"])
    sign_form: SignForm | None = Field(description="The text of param that its terminals sign; null: found out.")
    time_window_seconds: int | None = Field(
        description="Its terminals' clock window; null: the platform's.", examples=[900]
    )
    synthetic: bool = Field(
        False,
        exclude_if=operator.not_,
        description="There, and true, where its terminals measure the platform: what they sign in is no attendance.",
    )
    created_at: Moment
    credentials: list[VendorCredential]


class VendorPage(_CamelModel):
    """Vendors in order of vendorId."""

    items: list[Vendor]
    next: str | None = Field(description="Cursor of the next page; null on the last one.", examples=[None])


class NewCredential(_CamelModel):
    """What a terminal authenticates with. accessSecret is shown here and never again."""

    vendor_id: str = Field(examples=["v5f1c2a90b3d4e678"])
    name: str = Field(description="The vendor's", examples=["Hangzhou Gate Works"])
    access_id: str = Field(examples=["0c5b7f0e8d3a4c21b6e4f9a1d2c3b4a5"])
    access_key: str = Field(examples=["6d1e2f3a4b5c6d7e8f90a1b2c3d4e5f6"])
    access_secret: str = Field(examples=["f1e2d3c4b5a697887766554433221100"])


class SessionClient:
    """session's interface. Every method raises Unavailable where session does not answer in time."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url

    async def create_vendor(
        self, name: str, sign_form: SignForm | None, time_window_seconds: int | None, *, synthetic: bool = False
    ) -> NewCredential:
        """A new vendor with its first credential."""
        wish: dict[str, object] = {"name": name, "signForm": sign_form, "timeWindowSeconds": time_window_seconds}
        if synthetic:  # an older session refuses members that it does not know
            wish["synthetic"] = True
        _, body = await self._ask("POST", "/internal/v1/vendors", expected=(201,), json=wish)
        return NewCredential.model_validate_json(body)

    async def vendors(self, after: str | None, limit: int) -> VendorPage:
        """In order of vendorId, after `after`; `next` is the last vendorId, where there are more."""
        query = {"limit": str(limit)} | ({"after": after} if after else {})
        _, body = await self._ask("GET", "/internal/v1/vendors", expected=(200,), params=query)
        return VendorPage.model_validate_json(body)

    async def add_credential(self, vendor_id: str) -> NewCredential | None:
        """A further credential; None where there is no such vendor."""
        path = f"/internal/v1/vendors/{quote(vendor_id, safe='')}/credentials"
        status, body = await self._ask("POST", path, expected=(201, 404))
        return None if status == 404 else NewCredential.model_validate_json(body)

    async def revoke(self, vendor_id: str, access_id: str) -> bool:
        """Revokes it, harmless when repeated; False where the vendor has no such credential."""
        path = f"/internal/v1/vendors/{quote(vendor_id, safe='')}/credentials/{quote(access_id, safe='')}"
        status, _ = await self._ask("DELETE", path, expected=(204, 404))
        return status == 204

    async def change_device(self, sn: str, change: Mapping[str, str | int | None]) -> bool:
        """Changes what is named, by the members of domain.devices.DeviceChange; False where there is no such device."""
        status, _ = await self._ask("PATCH", "/internal/v1/devices", expected=(204, 404), json={**change, "sn": sn})
        return status == 204

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        expected: tuple[int, ...],
        json: object = None,
        params: dict[str, str] | None = None,
    ) -> tuple[int, bytes]:
        attributes = call_attributes(method, "session", self._url)
        with child_of(current_span(), HTTP_CLIENT_SPAN.format(method=method), SpanKind.CLIENT, attributes) as span:
            headers = None if span is None else {TRACEPARENT: span.traceparent}
            try:
                async with self._http.request(method, path, json=json, params=params, headers=headers) as answer:
                    status, body = answer.status, await answer.read()
            except (aiohttp.ClientError, TimeoutError) as error:
                raise Unavailable(f"session: {type(error).__name__}") from error
            if span is not None:
                answered(span, status)
        if status >= 500:
            raise Unavailable(f"session: status {status}")
        if status not in expected:
            raise RuntimeError(f"session answered {method} {path} with status {status}, which it never should")
        return status, body


@asynccontextmanager
async def open_session_client(settings: ConsoleSettings) -> AsyncIterator[SessionClient]:
    """A client whose every call ends within the deadline."""
    async with aiohttp.ClientSession(
        settings.session_url,
        headers={"Authorization": f"Bearer {settings.session_token.get_secret_value()}"},
        timeout=aiohttp.ClientTimeout(total=settings.session_timeout_ms / 1000),
    ) as http:
        yield SessionClient(http, settings.session_url)
