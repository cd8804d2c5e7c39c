"""Settings are refused with a reason that does not repeat a secret."""

import base64

import pytest
from pydantic import ValidationError

from shared.runtime.settings import SealingSettings, parse_sealing_keys, read_settings

KEY = base64.b64encode(bytes(range(32))).decode()


def test_sealing_keys_are_read_in_order() -> None:
    assert list(parse_sealing_keys(f"k2:{KEY}, k1:{KEY}")) == ["k2", "k1"]
    assert parse_sealing_keys(f"k1:{KEY}")["k1"] == bytes(range(32))


@pytest.mark.parametrize("text", ["", KEY, f":{KEY}", "k1:", "k1:c2hvcnQ=", "k1:???", f"k1:{KEY},k2"])
def test_a_malformed_sealing_key_is_refused_without_repeating_it(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEALING_KEYS", text)
    with pytest.raises(ValidationError) as caught:
        SealingSettings()
    assert "exactly 32 bytes" in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_missing_setting_ends_the_process_with_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SEALING_KEYS", raising=False)
    with pytest.raises(SystemExit) as caught:
        read_settings(SealingSettings)
    assert caught.value.code == 2
    assert capsys.readouterr().err == "setting SEALING_KEYS: Field required (see docs/settings.md)\n"
