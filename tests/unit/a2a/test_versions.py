"""Protocol versions as text."""

from __future__ import annotations

import pytest

from a2a_relay.a2a import versions


@pytest.mark.parametrize("version", ["0.3", "0.3.0", "0.3.17"])
def test_of_the_0_3_line(version: str) -> None:
    assert versions.is_v03(version)


@pytest.mark.parametrize("version", [None, "", "1.0", "1.0.1", "0.30", "0.31.2", "0.2.6", "3", "v0.3"])
def test_not_of_the_0_3_line(version: str | None) -> None:
    assert not versions.is_v03(version)


@pytest.mark.parametrize("version, short", [("1.0.1", "1.0"), ("1.0", "1.0"), ("0.3.0", "0.3"), ("1", "1"), ("", "")])
def test_patch_parts_do_not_matter(version: str, short: str) -> None:
    assert versions.major_minor(version) == short
