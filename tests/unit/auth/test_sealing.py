"""What is sealed opens for its own key, under its own master key, and not otherwise."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from a2a_relay.auth.sealing import Seal, open_seal
from a2a_relay.errors import SettingsError, StoreError
from a2a_relay.settings import Settings

SECRET = b"a secret that an agent signs its tokens with"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "made" / "master_key"


def test_a_sealed_secret_opens_again_also_for_another_process(file: Path) -> None:
    sealed = Seal(file).seal(SECRET, "k1")
    assert Seal(file).open(sealed, "k1") == SECRET
    assert SECRET not in sealed


def test_the_master_key_is_made_at_the_first_need_and_is_its_owners_alone(file: Path) -> None:
    seal = Seal(file)
    assert not file.exists()
    sealed = seal.seal(SECRET, "k1")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text(encoding="ascii")
    Seal(file).seal(SECRET, "k2")
    assert file.read_text(encoding="ascii") == text
    assert seal.open(sealed, "k1") == SECRET


def test_two_seals_of_one_secret_differ(file: Path) -> None:
    first, second = Seal(file).seal(SECRET, "k1"), Seal(file).seal(SECRET, "k1")
    assert first != second


def test_what_was_sealed_for_one_key_opens_for_no_other(file: Path) -> None:
    seal = Seal(file)
    with pytest.raises(StoreError, match="not sealed under"):
        seal.open(seal.seal(SECRET, "k1"), "k2")


def test_another_master_key_opens_nothing(file: Path, tmp_path: Path) -> None:
    other = Seal(tmp_path / "other")
    other.seal(SECRET, "k1")
    with pytest.raises(StoreError, match="not sealed under"):
        other.open(Seal(file).seal(SECRET, "k1"), "k1")


@pytest.mark.parametrize("at", [1, 13, -1])
def test_a_changed_byte_is_seen(file: Path, at: int) -> None:
    seal = Seal(file)
    sealed = bytearray(seal.seal(SECRET, "k1"))
    sealed[at] ^= 1
    with pytest.raises(StoreError, match="not sealed under"):
        seal.open(bytes(sealed), "k1")


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x01" + b"0" * 27, b"\x02" + b"0" * 60])
def test_what_is_no_sealed_secret_is_refused(file: Path, sealed: bytes) -> None:
    seal = Seal(file)
    seal.seal(SECRET, "k1")
    with pytest.raises(StoreError, match="not known here"):
        seal.open(sealed, "k1")


def test_opening_never_makes_a_master_key(file: Path, tmp_path: Path) -> None:
    sealed = Seal(tmp_path / "other").seal(SECRET, "k1")
    with pytest.raises(SettingsError, match="cannot be read"):
        Seal(file).open(sealed, "k1")
    assert not file.exists()


@pytest.mark.parametrize("text", ["", "a2a-relay-master-key-1:", "a2a-relay-master-key-1:AAAA", "A" * 44, "a2a\udcff"])
def test_a_file_that_holds_no_master_key_is_refused_and_left_alone(file: Path, text: str) -> None:
    file.parent.mkdir()
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SettingsError) as refused:
        Seal(file).seal(SECRET, "k1")
    assert "AAAA" not in str(refused.value)
    assert file.read_bytes() == text.encode("utf-8", "surrogateescape")


def test_the_setting_says_where_the_master_key_is(tmp_path: Path) -> None:
    open_seal(Settings.default(data_dir=tmp_path)).seal(SECRET, "k1")
    assert (tmp_path / "master_key").exists()
    open_seal(Settings.default(data_dir=tmp_path, master_key_file=tmp_path / "there")).seal(SECRET, "k1")
    assert (tmp_path / "there").exists()
