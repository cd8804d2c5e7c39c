"""Packages of firmware: uploaded here, installed by tasks and campaigns."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect

from console_service.audit import Auditor
from console_service.cursors import Cursor, Limit, decode_cursor, encode_cursor
from console_service.operators import Administering, Viewing
from console_service.streaming import Slots
from console_service.times import Moment
from shared.domain import firmware
from shared.domain.attendance import rfc3339
from shared.runtime.clock import Clock
from shared.runtime.problems import Problem
from shared.stores.person_interfaces import FirmwareStore, VersionTaken

LISTED = "firmware"

MAX_UPLOADS = 2
"""At once: each may lie on the disk whole before it is stored."""
UPLOAD_SECONDS = 1800.0
"""Longest time that an upload may take."""
MAX_VERSION_CHARACTERS = 64
MAX_FIELD_BYTES = 1024
CHUNK_BYTES = 1024 * 1024

_UPLOAD_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["version", "file"],
                    "properties": {
                        "version": {
                            "type": "string",
                            "minLength": 1,
                            "maxLength": MAX_VERSION_CHARACTERS,
                            "description": "As terminals will name it; printable, without spaces around it.",
                            "examples": ["v2.4.1"],
                        },
                        "file": {"type": "string", "format": "binary", "minLength": 1},
                    },
                }
            }
        },
    }
}


class Firmware(BaseModel):
    """A package that terminals can install."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)

    firmware_id: str = Field(examples=["f019ab4d2f30c8d5e6f70"])
    version: str = Field(examples=["v2.4.1"])
    size: int = Field(description="Bytes.", examples=[41_943_040])
    sha256: str = Field(examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"])
    created_at: Moment


class FirmwarePage(BaseModel):
    """Packages in the order of their uploads."""

    items: list[Firmware]
    next: str | None = Field(description="Cursor of the next page; null on the last one.", examples=[None])


def firmware_routes(store: FirmwareStore, auditor: Auditor, clock: Clock) -> APIRouter:
    """The routes under /firmware."""
    router = APIRouter(prefix="/firmware", tags=["firmware"])
    slots = Slots(MAX_UPLOADS)

    @router.post(
        "",
        status_code=201,
        summary="Upload a package",
        openapi_extra=_UPLOAD_BODY,
        responses={
            200: {"model": Firmware, "description": "This package was there already"},
            400: {"description": "The body is no such form, or was cut off"},
            409: {"description": "There is another package of this version"},
            415: {"description": "The body is no multipart/form-data"},
        },
    )
    # The form is read in here and not by FastAPI, which would read it before it asks who sends it
    async def upload_firmware(operator: Administering, request: Request, response: Response) -> Firmware:
        """There is one package of a version, for ever: the same bytes again are answered with 200 and change nothing,
        other bytes with 409. A package is there whole or not at all: of an upload that is cut off nothing stays. Where
        the answer is 503, look at the list before trying again."""
        with slots.take("uploads"):
            async with uploaded(request) as (version, file):
                size, sha256 = await _measured(file)
                if size == 0:
                    raise Problem(422, "file is empty")
                earlier = (await store.of_versions([version])).get(version)
                if earlier is not None and earlier.sha256 == sha256:
                    response.status_code = 200
                    return _answer(earlier)
                what = {"version": version, "size": size, "sha256": sha256}
                async with auditor.change(operator.who, "firmware.upload", None, what) as change:
                    if earlier is not None:
                        raise Problem(409, "there is another package of this version")
                    try:
                        added = await store.add(version, _chunks(file), clock.now_ms())
                    except VersionTaken as error:  # uploaded at the same time
                        raise Problem(409, "another package of this version came first; look at the list") from error
                    change.target, change.after = added.firmware_id, what
        return _answer(added)

    @router.get("", summary="List packages")
    async def list_firmware(_operator: Viewing, cursor: Cursor = None, limit: Limit = 50) -> FirmwarePage:
        """In the order of their uploads. They belong to no site: every operator sees them."""
        after = None if cursor is None else decode_cursor(LISTED, cursor, tuple[str])[0]
        found = await store.page(after, limit + 1)
        following = encode_cursor(LISTED, (found[limit - 1].firmware_id,)) if len(found) > limit else None
        return FirmwarePage(items=[_answer(package) for package in found[:limit]], next=following)

    return router


@asynccontextmanager
async def uploaded(request: Request) -> AsyncIterator[tuple[str, UploadFile]]:
    """The form's version and file, which lies on the disk where it is large, while the context is open. Raises Problem
    where it is no such form."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise Problem(415, "the body is no multipart/form-data")
    try:
        form = await request.form(max_files=1, max_fields=1, max_part_size=MAX_FIELD_BYTES)
    except ClientDisconnect as error:
        raise Problem(400, "the upload was cut off") from error
    except UnicodeError as error:
        raise Problem(400, "the form is not of the charset that it names") from error
    try:
        version, file = form.get("version"), form.get("file")
        if not isinstance(version, str) or not _is_version(version):
            raise Problem(422, f"version must be 1 to {MAX_VERSION_CHARACTERS} printable characters")
        if not isinstance(file, UploadFile):
            raise Problem(422, "file is missing, or has no file name")
        yield version, file
    finally:
        await form.close()


def _is_version(text: str) -> bool:
    return 1 <= len(text) <= MAX_VERSION_CHARACTERS and text.isprintable() and text == text.strip()


async def _measured(file: UploadFile) -> tuple[int, str]:
    size, digest = 0, hashlib.sha256()
    async for chunk in _chunks(file):
        size += len(chunk)
        digest.update(chunk)
    return size, digest.hexdigest()


async def _chunks(file: UploadFile) -> AsyncIterator[bytes]:
    await file.seek(0)
    while chunk := await file.read(CHUNK_BYTES):
        yield chunk


def _answer(package: firmware.Firmware) -> Firmware:
    return Firmware(
        firmware_id=package.firmware_id,
        version=package.version,
        size=package.size,
        sha256=package.sha256,
        created_at=rfc3339(package.created_at_ms),
    )
