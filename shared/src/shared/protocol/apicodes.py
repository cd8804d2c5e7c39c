"""The interfaces of the standard: names and channel. How each is signed stands in signatures.py."""

from enum import StrEnum


class Apicode(StrEnum):
    """An interface of the standard (sections 2.1 to 2.3 over TCP, 3.1 to 3.8 over HTTPS)."""

    C_AUTH = "C_AUTH"
    C_HEARTBEAT = "C_HEARTBEAT"
    C_SIGN_IN = "C_SIGN_IN"
    T_GET_TASKS = "T_GET_TASKS"
    T_UPDATE_TASKS_STATUS = "T_UPDATE_TASKS_STATUS"
    T_SEND_PERSON = "T_SEND_PERSON"
    T_UPDATE_DEVICE_PERSON = "T_UPDATE_DEVICE_PERSON"
    T_DEL_DEVICE_PERSON = "T_DEL_DEVICE_PERSON"
    T_CLEAR_DEVICE_PERSON = "T_CLEAR_DEVICE_PERSON"
    T_UPDATE_DEVICE_VERSION = "T_UPDATE_DEVICE_VERSION"
    T_POST_DEVICE_PERSON = "T_POST_DEVICE_PERSON"


TCP_APICODES = frozenset(code for code in Apicode if code.startswith("C_"))
"""C_: over TCP. C_AUTH is recognised by field 3 (M4), so in field 4 it is an error (E1)."""

HTTPS_APICODES = frozenset(code for code in Apicode if code.startswith("T_"))
"""T_: over HTTPS, all at one address (T4)."""
