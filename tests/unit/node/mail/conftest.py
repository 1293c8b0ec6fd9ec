"""Makes `mail_relay` importable by the tests beside it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from mail_relay import MailRelay


@pytest.fixture
def relay() -> MailRelay:
    return MailRelay()
