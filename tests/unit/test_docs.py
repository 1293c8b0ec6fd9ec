"""The documents say what the source says: links lead somewhere, and no table has drifted from its code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from a2a_relay.a2a.problems import BY_CODE
from a2a_relay.admin.routes import OPERATIONS
from a2a_relay.core.target import Surface, read_target
from a2a_relay.errors import RULINGS, Refused
from a2a_relay.settings import BY_NAME
from a2a_relay.wire import agent_side
from a2a_relay.wire.close_codes import BY_CODE as CLOSE_CODES
from a2a_relay.wire.dialects import A2A_V1, NATIVE, RELAY_ELIXIR
from a2a_relay.wire.frames import Ignored, Unreadable

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "a2a_relay"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
AGENT_LINK = ROOT / "docs" / "agent-link.md"
HTTP_SURFACE = ROOT / "docs" / "http-surface.md"
LOGS = ROOT / "docs" / "logs.md"

_FENCE = re.compile(r"^( *)```.*?^\1```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def rows(document: Path, name: str) -> list[list[str]]:
    """The rows of the table between `<!-- table: name -->` and `<!-- end -->`, without its head."""
    text = document.read_text(encoding="utf-8")
    table = re.search(rf"<!-- table: {re.escape(name)} -->\n(.*?)<!-- end -->", text, re.DOTALL)
    assert table, f"{document.name} has no table {name!r}"
    lines = table[1].strip().splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    text = _FENCE.sub("", document.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ +(.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def relative_links(document: Path) -> Iterator[str]:
    text = _FENCE.sub("", document.read_text(encoding="utf-8"))
    return (link for link in _LINK.findall(text) if not re.match(r"[a-z][a-z0-9+.-]*:", link))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_of_a_document_leads_somewhere(document: Path) -> None:
    broken = []
    for link in relative_links(document):
        place, _, anchor = link.partition("#")
        target = (document.parent / place).resolve() if place else document
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def test_the_index_names_every_document() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    named = {link.partition("#")[0] for link in _LINK.findall(index)}
    assert {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"} <= named


# the agent link


def frame_types_of_the_source() -> set[str]:
    """Every `type` that the wire room reads or writes."""
    wire = SOURCE / "wire"
    files = [*(wire / "dialects").glob("*.py"), wire / "agent_side.py", wire / "chunks.py"]
    code = "\n".join(re.sub(r'""".*?"""', "", path.read_text(encoding="utf-8"), flags=re.DOTALL) for path in files)
    cases = re.findall(r'^ +case ("[\w.]+"(?: \| "[\w.]+")*):', code, re.MULTILINE)
    found = {name for case in cases for name in re.findall(r'"([\w.]+)"', case)}
    found |= set(re.findall(r'kind == "([\w.]+)"', code))
    found |= set(re.findall(r'codec\.write(?:_flat|_payload)?\(\s*"([\w.]+)"', code))
    return found | set(re.findall(r'"type":"([\w.]+)"', code))


def test_every_frame_type_has_its_section_and_every_section_its_frame_type() -> None:
    described = re.findall(r"^### `([\w.]+)`$", AGENT_LINK.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(described) == len(set(described))
    assert set(described) == frame_types_of_the_source()


def example_frames() -> list[bytes]:
    blocks = re.findall(r"^```json\n(.*?)^```$", AGENT_LINK.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [block.strip().encode() for block in blocks]


@pytest.mark.parametrize("frame", example_frames(), ids=lambda frame: json.loads(frame).get("type"))
def test_every_example_frame_is_understood_by_the_side_that_receives_it(frame: bytes) -> None:
    read = [agent_side.read(frame), *(dialect.read(frame) for dialect in (NATIVE, RELAY_ELIXIR, A2A_V1))]
    assert any(not isinstance(found, Ignored | Unreadable) for found in read)


def test_close_codes_are_those_of_the_source() -> None:
    described = [row[:3] for row in rows(AGENT_LINK, "close codes")]
    assert described == [[str(c.code), c.reason, "yes" if c.reconnect else "no"] for c in CLOSE_CODES.values()]


def test_the_error_mapping_is_that_of_the_source() -> None:
    described = rows(AGENT_LINK, "error mapping")
    assert described == [[str(code), str(kind[0]), kind.grpc_status, kind.reason] for code, kind in BY_CODE.items()]


# the HTTP surface


def test_reasons_are_those_of_the_source() -> None:
    described = ["| " + " | ".join(row) + " |" for row in rows(HTTP_SURFACE, "reasons")]
    expected = [
        f"| `{reason}` | {of.http_status} | {of.rpc_code} | {of.rpc_http_status} | {of.grpc_status} "
        f"| {of.message}{' *' if of.temporary else ''} |"
        for reason, of in RULINGS.items()
    ]
    assert described == expected, "the table should be:\n" + "\n".join(expected)


def served_paths() -> list[tuple[str, list[str]]]:
    return [
        (row[0].strip("`"), ["GET"] if row[1] == "WebSocket" else row[1].split(", "))
        for row in rows(HTTP_SURFACE, "paths")
    ]


def filled(path: str) -> bytes:
    return re.sub(r"\{[\w-]+\}", "x1", path.replace("{base}", "/t/{tenant}/a2a/{agent}")).encode()


VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@pytest.mark.parametrize(("path", "verbs"), served_paths(), ids=str)
def test_every_described_path_is_served_under_its_verbs_and_no_others(path: str, verbs: list[str]) -> None:
    served = []
    for verb in VERBS:
        try:
            read_target(verb, filled(path), relay_elixir=True)
        except Refused:
            continue
        served.append(verb)
    described = [other_verbs for other, other_verbs in served_paths() if other == path]
    assert served == sorted({verb for some in described for verb in some}, key=VERBS.index)


def test_the_operations_of_the_admin_api_are_those_of_its_table() -> None:
    described = [[cell.strip("`") for cell in row[:3]] for row in rows(HTTP_SURFACE, "administration")]
    assert described == [[operation.path, operation.verb, operation.id] for operation in OPERATIONS]


def test_every_surface_of_the_router_is_described() -> None:
    described = {
        read_target(verb, filled(path), relay_elixir=True).surface for path, verbs in served_paths() for verb in verbs
    }
    assert described == set(Surface)


# logs


def events_of_the_source(*rooms: str, names: str) -> set[str]:
    files = [path for room in rooms for path in sorted((SOURCE / room).rglob("*.py"))]
    code = "\n".join(path.read_text(encoding="utf-8") for path in files)
    return set(re.findall(rf'(?:{names})\(\s*"(\w+)"', code))


def test_every_line_of_the_log_is_described() -> None:
    method = r"\.(?:debug|info|warning|error)"
    relay = events_of_the_source("node", "fronts", "telemetry", names=rf"notice|_log{method}")
    relay |= events_of_the_source("assembly", names=rf"log{method}")
    connector = events_of_the_source("connector", names=rf"_LOG{method}")
    assert {row[0].strip("`") for row in rows(LOGS, "relay lines")} == relay
    assert {row[0].strip("`") for row in rows(LOGS, "connector lines")} == connector


# settings that the documents speak of


@pytest.mark.parametrize("document", [AGENT_LINK, HTTP_SURFACE], ids=lambda path: path.name)
def test_settings_beside_a_limit_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    limits = text.partition("## Limits")[2].partition("\n## ")[0]
    named = {name for row in re.findall(r"^\|.*\|$", limits, re.MULTILINE) for name in setting_names(row)}
    assert named
    assert named <= set(BY_NAME)


def setting_names(row: str) -> list[str]:
    return re.findall(r"`([a-z_]+)`", row.rstrip("|").rpartition("|")[2])
