import hashlib
import secrets

import pytest

from shared.domain.operators import Operator, OperatorToken, Role, is_token, token_digest


def make_token(**members: object) -> OperatorToken:
    values = {"token_id": "t1", "digest": "d", "role": Role.VIEWER, "created_at_ms": 1000} | members
    return OperatorToken(**values)  # type: ignore[arg-type]  # test data


def test_each_role_may_do_what_those_before_it_may() -> None:
    assert Role.VIEWER < Role.OPERATOR < Role.ADMIN


def test_a_bound_operator_sees_its_sites_alone_and_not_what_is_at_none() -> None:
    bound = Operator(who="x", role=Role.ADMIN, site_ids=frozenset({"s1", "s2"}))
    unbound = Operator(who="x", role=Role.VIEWER)
    assert [bound.sees(site) for site in ("s1", "s2", "s3", None)] == [True, True, False, False]
    assert all(unbound.sees(site) for site in ("s1", "s3", None))


@pytest.mark.parametrize(
    ("members", "now_ms", "expected"),
    [
        ({}, 10**15, True),
        ({"expires_at_ms": 5000}, 4999, True),
        ({"expires_at_ms": 5000}, 5000, False),
        ({"revoked_at_ms": 5000}, 4000, False),  # by a clock that runs ahead
        ({"revoked_at_ms": 5000, "expires_at_ms": 9000}, 6000, False),
    ],
)
def test_a_token_is_in_force_until_it_expires_or_is_revoked(
    members: dict[str, object], now_ms: int, expected: bool
) -> None:
    assert make_token(**members).is_in_force(now_ms) is expected


def test_whoever_holds_a_token_has_its_role_and_sites_and_is_named_by_its_id() -> None:
    token = make_token(role=Role.OPERATOR, site_ids=frozenset({"s1"}), name="admin")
    assert token.operator == Operator(who="token:t1", role=Role.OPERATOR, site_ids=frozenset({"s1"}))


def test_a_token_is_kept_as_its_sha_256() -> None:
    token = "op_" + secrets.token_urlsafe(32)
    assert is_token(token)
    assert token_digest(token) == hashlib.sha256(token.encode()).hexdigest()


@pytest.mark.parametrize("text", ["", "op_", "op_" + "a" * 42, "op_" + "a" * 44, "OP_" + "a" * 43, "op_" + "é" * 43])
def test_what_has_another_form_is_no_token(text: str) -> None:
    assert not is_token(text)
    assert not is_token("op_" + "a" * 43 + "\n")
