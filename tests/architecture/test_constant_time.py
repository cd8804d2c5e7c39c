"""What decides whether somebody knows a secret is compared in constant time: shown by reading the sources, since no
measurement shows it."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECRETS = ("secret", "sign", "signature", "token", "access_key", "digest", "hmac", "password")
"""Parts of the names of what may be secret, or follow from a secret."""

NO_SECRET = {
    "digest != _digest(listed, encoded)": "a cursor opens nothing that its filters do not (cursors.py)",
    "message.token == Apicode.C_AUTH": "tells the two messages apart (M4)",
    "roster.planned_for == digest": "what a roster was planned for, our own on both sides",
    "token.digest == digest": "a lookup by SHA-256 of the whole token, as the database's own",
}
"""Comparisons that decide nothing secret, each with why not."""

COMPARED_IN_CONSTANT_TIME = {
    "services/session/src/session_service/routes.py",
    "services/console/src/console_service/operators.py",
    "shared/src/shared/protocol/signatures.py",
    "shared/src/shared/protocol/verification.py",
    "shared/src/shared/domain/links.py",
}


def sources() -> list[Path]:
    found = [*(ROOT / "shared" / "src").rglob("*.py"), *(ROOT / "services").rglob("src/**/*.py")]
    return [file for file in found if "generated" not in file.parts]


def plain_comparisons(source: str) -> Iterator[str]:
    """Comparisons by == or != in which something is named as a secret is; literals beside them are no secret."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare) and any(isinstance(each, ast.Eq | ast.NotEq) for each in node.ops):
            sides = [node.left, *node.comparators]
            if not any(isinstance(side, ast.Constant) for side in sides) and any(map(_is_named_secret, sides)):
                yield ast.unparse(node)


def _is_named_secret(side: ast.expr) -> bool:
    """By the last name of it: `request.sign`, `signature`, but not `sign_in.topic`."""
    if isinstance(side, ast.Call):
        side = side.func.value if isinstance(side.func, ast.Attribute) else side.func
    name = side.attr if isinstance(side, ast.Attribute) else side.id if isinstance(side, ast.Name) else ""
    return any(name.strip("_").endswith(secret) for secret in SECRETS)


def test_no_secret_is_compared_but_in_constant_time() -> None:
    found = {one for file in sources() for one in plain_comparisons(file.read_text(encoding="utf-8"))}
    assert len(sources()) > 100
    assert sorted(found) == sorted(NO_SECRET)


def test_what_opens_anything_uses_compare_digest() -> None:
    using = {str(file.relative_to(ROOT)) for file in sources() if "hmac.compare_digest(" in file.read_text("utf-8")}
    assert using == COMPARED_IN_CONSTANT_TIME


def test_a_plain_comparison_would_be_found() -> None:
    source = """
if request.sign == expected: pass
if facts.access_secret != given.access_secret: pass
ok = md5_hex(parts) == signature.lower()
fine = sign_in.topic == other or token == ""
"""
    assert list(plain_comparisons(source)) == [
        "request.sign == expected",
        "facts.access_secret != given.access_secret",
        "md5_hex(parts) == signature.lower()",
    ]
