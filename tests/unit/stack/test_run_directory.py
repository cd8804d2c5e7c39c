"""The folder of a stack: one holder, private files, and what --fresh drops."""

import json
import os
import stat
from pathlib import Path

import pytest

from stack.kept_secrets import VendorAccess, keep_vendor, load_secrets
from stack.process import StackError
from stack.run_directory import RunDirectory, write_private_json


def test_a_folder_that_is_held_is_refused_and_names_the_holder(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    with directory.locked(), pytest.raises(StackError, match=rf"already \(pid {os.getpid()}\)"), directory.locked():
        pytest.fail("two stacks in one folder")


def test_a_folder_that_was_left_can_be_held_again(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    with directory.locked():
        pass
    with directory.locked():
        assert (tmp_path / "run" / "lock").read_text() == str(os.getpid())


@pytest.mark.parametrize("fresh", [True, False])
def test_fresh_drops_what_was_kept_and_a_plain_run_keeps_it(tmp_path: Path, fresh: bool) -> None:
    directory = RunDirectory(tmp_path / "run")
    kept = [directory.data / "mongo", directory.certificates / "ca.pem", directory.secrets_file]
    for file in [*kept, directory.stack_file, directory.logs / "old.log"]:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")
    directory.prepare(fresh=fresh)
    assert [file.exists() for file in kept] == [not fresh] * 3
    assert not directory.stack_file.exists()
    assert list(directory.logs.iterdir()) == []


def test_a_private_file_is_readable_by_its_owner_alone_also_over_an_open_one(tmp_path: Path) -> None:
    file = tmp_path / "secrets.json"
    file.write_text("old")
    file.chmod(0o644)
    write_private_json(file, {"a": 1})
    assert json.loads(file.read_text()) == {"a": 1}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_secrets_are_drawn_once_and_kept_with_the_vendor(tmp_path: Path) -> None:
    file = tmp_path / "secrets.json"
    drawn = load_secrets(file)
    assert drawn.vendor is None
    assert load_secrets(file) == drawn
    vendor = VendorAccess("id", "key", "secret")
    changed = keep_vendor(file, drawn, vendor)
    assert load_secrets(file) == changed
    assert changed.vendor == vendor
    assert (changed.sealing_keys, changed.admin_token) == (drawn.sealing_keys, drawn.admin_token)


def test_two_folders_have_different_secrets(tmp_path: Path) -> None:
    one, other = load_secrets(tmp_path / "one"), load_secrets(tmp_path / "other")
    assert one.sealing_keys != other.sealing_keys
    assert one.admin_token != other.admin_token
    assert one.session_token != one.admin_token
