"""Error codes of the standard (1.3) with its texts, and the one exception that becomes an answer (E1, M6)."""

from enum import Enum


class ErrorCode(Enum):
    """A code of section 1.3; `text` is the standard's own wording, with which every errmsg begins."""

    APICODE = ("400_01", "APICODE 为空")
    PARAM = ("400_02", "param 解析失败")
    SIGN = ("400_04", "token 或 sign 验证失败")
    TIMESTAMP = ("400_05", "timestamp 验证错误")
    TOKEN = ("401_01", "token 不存在")
    REVOKED = ("401_02", "认证密钥已失效")
    SYSTEM = ("500_01", "系统异常")

    def __init__(self, code: str, text: str) -> None:
        self.code = code
        self.text = text


class ProtocolError(Exception):
    """A request that is answered with an error code.

    `detail` is one clause on what was wrong, fit for the wire: no secret, token or expected signature (M6).
    """

    def __init__(self, code: ErrorCode, detail: str = "") -> None:
        super().__init__(f"{code.code} {detail}")
        self.code = code
        self.detail = detail

    @property
    def errmsg(self) -> str:
        """The standard's text, then what was wrong: `param 解析失败: recordTime missing`."""
        return f"{self.code.text}: {self.detail}" if self.detail else self.code.text
