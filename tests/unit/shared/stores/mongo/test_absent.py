"""What a failed bulk write means: the answers are written as MongoDB gives them."""

from typing import Any

import pytest
from pymongo.errors import BulkWriteError, OperationFailure

from shared.runtime.unavailable import Unavailable
from shared.stores.mongo.absent import is_duplicate_id, raise_if_passing
from shared.stores.mongo.client import mongo_faults

NOT_PRIMARY = 10107
DOCUMENT_VALIDATION = 121


def bulk_error(*codes: int, concern_failed: bool = False) -> BulkWriteError:
    details: dict[str, Any] = {
        "writeErrors": [{"index": index, "code": code, "errmsg": ""} for index, code in enumerate(codes)],
        "writeConcernErrors": [{"code": 64, "errmsg": "waiting for replication timed out"}] if concern_failed else [],
    }
    return BulkWriteError(details)


def test_design_10_duplicates_whose_write_concern_was_not_met_are_not_known_to_be_stored() -> None:
    with pytest.raises(Unavailable):
        raise_if_passing(bulk_error(11000, concern_failed=True))


def test_a_write_error_that_may_pass_repeats_the_whole_batch() -> None:
    with pytest.raises(Unavailable, match="10107"):
        raise_if_passing(bulk_error(11000, NOT_PRIMARY))


@pytest.mark.parametrize("code", [1, 8, 14031])  # InternalError, UnknownError, OutOfDiskSpace
def test_design_10_a_fault_of_the_server_says_nothing_of_the_document_which_is_written_again(code: int) -> None:
    with pytest.raises(Unavailable, match=str(code)):
        raise_if_passing(bulk_error(code))
    with pytest.raises(Unavailable, match=str(code)), mongo_faults():
        raise OperationFailure("No space left on device", code)


def test_write_errors_that_cannot_pass_are_the_documents_own() -> None:
    raise_if_passing(bulk_error(11000, DOCUMENT_VALIDATION))


@pytest.mark.parametrize(
    ("fault", "is_stored"),
    [
        ({"code": 11000, "keyPattern": {"_id": 1}, "errmsg": ""}, True),
        ({"code": 11000, "keyPattern": {"sn": 1}, "errmsg": "dup key: { sn: 'index: _id_' }"}, False),
        ({"code": 11000, "errmsg": "E11000 duplicate key error collection: a.b index: _id_ dup key: { _id: 1 }"}, True),
        ({"code": 11000, "errmsg": "E11000 duplicate key error collection: a.b index: sn_1 dup key: { sn: 1 }"}, False),
        ({"code": 11000, "errmsg": "E11000 … index: sn_1 dup key: { sn: 'index: _id_ ' }"}, False),
        ({"code": DOCUMENT_VALIDATION, "errmsg": "index: _id_"}, False),
    ],
)
def test_design_10_only_a_duplicate_of_id_counts_as_stored_already(fault: dict[str, Any], is_stored: bool) -> None:
    assert is_duplicate_id(fault) is is_stored
