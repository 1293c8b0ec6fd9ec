"""The pages that are written from the code say what the code says now."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from a2a_relay.settings import load

ROOT = Path(__file__).resolve().parents[3]
SCRIPTS = ROOT / "scripts"


@pytest.mark.parametrize("script", ["generate_settings_doc.py", "generate_cli_doc.py"])
def test_a_generated_page_is_up_to_date(script: str) -> None:
    ran = subprocess.run(
        [sys.executable, str(SCRIPTS / script), "--check"], capture_output=True, text=True, timeout=30, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_the_file_that_the_docs_show_can_be_used(tmp_path: Path) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "settings.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "relay.toml").write_text(block, encoding="utf-8")
    settings = load({"config": str(tmp_path / "relay.toml")}, {})
    assert (settings.max_body, settings.trusted_proxies) == (8 * 1024 * 1024, ("10.0.0.0/8",))
    assert settings.jwt_secret_file == tmp_path / "jwt_secret"
