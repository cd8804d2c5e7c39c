from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class AuthRequest(_message.Message):
    __slots__ = ("version", "sn", "apicode", "access_id", "access_key", "field_6", "field_7", "field_8", "field_9")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SN_FIELD_NUMBER: _ClassVar[int]
    APICODE_FIELD_NUMBER: _ClassVar[int]
    ACCESS_ID_FIELD_NUMBER: _ClassVar[int]
    ACCESS_KEY_FIELD_NUMBER: _ClassVar[int]
    FIELD_6_FIELD_NUMBER: _ClassVar[int]
    FIELD_7_FIELD_NUMBER: _ClassVar[int]
    FIELD_8_FIELD_NUMBER: _ClassVar[int]
    FIELD_9_FIELD_NUMBER: _ClassVar[int]
    version: str
    sn: str
    apicode: str
    access_id: str
    access_key: str
    field_6: str
    field_7: str
    field_8: str
    field_9: str
    def __init__(self, version: _Optional[str] = ..., sn: _Optional[str] = ..., apicode: _Optional[str] = ..., access_id: _Optional[str] = ..., access_key: _Optional[str] = ..., field_6: _Optional[str] = ..., field_7: _Optional[str] = ..., field_8: _Optional[str] = ..., field_9: _Optional[str] = ...) -> None: ...

class DeviceRequest(_message.Message):
    __slots__ = ("version", "sn", "token", "apicode", "time_stamp", "param", "sign")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SN_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    APICODE_FIELD_NUMBER: _ClassVar[int]
    TIME_STAMP_FIELD_NUMBER: _ClassVar[int]
    PARAM_FIELD_NUMBER: _ClassVar[int]
    SIGN_FIELD_NUMBER: _ClassVar[int]
    version: str
    sn: str
    token: str
    apicode: str
    time_stamp: str
    param: str
    sign: str
    def __init__(self, version: _Optional[str] = ..., sn: _Optional[str] = ..., token: _Optional[str] = ..., apicode: _Optional[str] = ..., time_stamp: _Optional[str] = ..., param: _Optional[str] = ..., sign: _Optional[str] = ...) -> None: ...

class Response(_message.Message):
    __slots__ = ("version", "success", "apicode", "error", "response")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    APICODE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    version: str
    success: bool
    apicode: str
    error: str
    response: str
    def __init__(self, version: _Optional[str] = ..., success: _Optional[bool] = ..., apicode: _Optional[str] = ..., error: _Optional[str] = ..., response: _Optional[str] = ...) -> None: ...
