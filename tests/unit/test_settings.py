"""Settings: one table, four sources, and complaints that name the setting and its source."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from a2a_relay.assembly.rules import (
    read_default_limits,
    read_limits,
    read_link_rules,
    read_mail_policy,
    read_stream_policy,
)
from a2a_relay.core.letter import Room
from a2a_relay.core.limits import Limits
from a2a_relay.core.link_rules import LinkRules
from a2a_relay.core.mail_rules import AgentMailRule, MailPolicy, MailRules
from a2a_relay.core.rates import Subject
from a2a_relay.core.stream_rules import AgentRule, StreamPolicy, StreamRules
from a2a_relay.errors import SettingsError
from a2a_relay.settings import (
    BY_NAME,
    SETTINGS,
    Kind,
    Profile,
    Settings,
    load,
    load_only,
    read_profile,
    read_secret,
    resolve_secret,
    rule_text,
    seconds,
    secret_file,
    sources,
    write_private,
    write_profile,
)
from a2a_relay.settings.values import LimitValue, MailboxRule, StreamRule

LONG_SECRET = "s" * 32


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment that says nothing but where the data is."""
    return {"RELAY_DATA_DIR": str(tmp_path / "data")}


def write_file(tmp_path: Path, text: str, name: str = "relay.toml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def complaint(flags: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        load(flags, environ)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- the table ---


def test_every_setting_is_an_attribute_a_flag_and_an_environment_variable() -> None:
    settings = Settings.default()
    for setting in SETTINGS:
        assert hasattr(settings, setting.name)
        assert setting.flag == "--" + setting.name.replace("_", "-")
        assert setting.env[0] == "RELAY_" + setting.name.upper()
        assert setting.help


def test_no_two_settings_listen_to_one_variable() -> None:
    variables = [variable for setting in SETTINGS for variable in setting.env]
    assert len(variables) == len(set(variables))


def test_the_defaults_of_limits_are_those_of_the_core() -> None:
    """`replay_seconds` is `replay_time` as a setting, because `replay` alone would say nothing."""
    settings = Settings.default()
    others = {"session_grace_seconds": "leave_grace", "replay_seconds": "replay_time"}
    for limit in fields(Limits):
        if limit.name == "stream_window":
            assert limit.default == (settings.stream_window_events, settings.stream_window_bytes)
        else:
            name = others.get(limit.name, limit.name.removesuffix("_seconds"))
            assert getattr(settings, name) == limit.default
    assert StreamRules() == (settings.stream_idle, settings.stream_total, False)
    assert (read_limits(settings), read_stream_policy(settings)) == (Limits(), StreamPolicy())
    assert read_mail_policy(settings) == MailPolicy()
    assert read_link_rules(settings) == LinkRules()


def test_what_is_said_of_links_arrives() -> None:
    settings = Settings.default(on_second_session="refuse", takeover_hold=5, link_expiry="strict")
    assert read_link_rules(settings) == LinkRules(True, 5, True)


def test_what_is_set_arrives_in_limits() -> None:
    """Every limit has a setting of its own, and none gets another's."""
    names = [setting.name for setting in SETTINGS if setting.kind in (Kind.INTEGER, Kind.BYTES, Kind.SECONDS)]
    settings = Settings.default(**{name: 1000 + number for number, name in enumerate(names)})
    found = [getattr(read_limits(settings), limit.name) for limit in fields(Limits)]
    numbers = [number for item in found for number in (item if isinstance(item, tuple) else (item,))]
    numbers = [number for number in numbers if not isinstance(number, str)]
    assert len(set(numbers)) == len(numbers)
    assert min(numbers) >= 1000


class TestDefaultLimits:
    def test_are_names_with_numbers_or_sizes(self) -> None:
        settings = load({"tenant_limits": "calls_per_second=0.5, sessions=3  mailbox_bytes=64KiB"}, {})
        assert settings.tenant_limits == (
            LimitValue("calls_per_second", 0.5),
            LimitValue("sessions", 3),
            LimitValue("mailbox_bytes", 65536),
        )
        assert [rule_text(limit) for limit in settings.tenant_limits] == [
            "calls_per_second=0.5",
            "sessions=3",
            "mailbox_bytes=65536",
        ]
        found = read_default_limits(settings)
        assert found[Subject.TENANT] == {"calls_per_second": 0.5, "sessions": 3, "mailbox_bytes": 65536}
        assert found[Subject.KEY] == found[Subject.AGENT] == {}

    @pytest.mark.parametrize("text", ["calls", "calls_per_second=", "calls_per_second=x", "calls_per_second=-1", "=3"])
    def test_are_told_what_they_look_like(self, text: str) -> None:
        with pytest.raises(SettingsError, match="limits such as calls_per_second=50"):
            load({"key_limits": text}, {})

    def test_that_there_are_not_are_told_those_that_there_are(self) -> None:
        with pytest.raises(SettingsError, match="no limit 'sessions' of an agent; the limits are calls_per_second"):
            read_default_limits(load({"agent_limits": "sessions=3"}, {}))


class TestStreamRules:
    def test_are_read_word_by_word(self) -> None:
        text = "acme/echo idle=30s total=10m window=durable,*/* window=memory"
        settings = load_only(("stream_rules",), {"stream_rules": text}, {})
        assert settings.stream_rules == (
            StreamRule("acme", "echo", 30, 600, "durable"),
            StreamRule("*", "*", window="memory"),
        )
        assert read_stream_policy(settings).agents == (
            AgentRule("acme", "echo", 30, 600, True),
            AgentRule("*", "*", is_durable=False),
        )

    @pytest.mark.parametrize(
        "text",
        [
            " ",
            "acme idle=1s",
            "acme/echo",
            "acme/echo idle",
            "acme/echo idle=x",
            "acme/echo window=disk",
            "acme/echo idle=0",
            "a/b/c x=1",
        ],
    )
    def test_that_cannot_be_read_are_one_clear_line(self, environ: dict[str, str], text: str) -> None:
        assert complaint({"stream_rules": text}, environ).startswith("stream_rules (")


class TestMailboxRules:
    def test_are_read_word_by_word(self) -> None:
        text = "acme/echo offline=reject ttl=1h letters=10 bytes=1MiB attempts=3 wait=0 contexts=1, */* ttl=2d"
        settings = load_only(("mailbox_rules",), {"mailbox_rules": text}, {})
        assert settings.mailbox_rules == (
            MailboxRule("acme", "echo", "reject", 3600, 10, 1024 * 1024, 3, 0, 1),
            MailboxRule("*", "*", ttl=2 * 86400),
        )
        assert read_mail_policy(settings).agents == (
            AgentMailRule("acme", "echo", False, 10, 1024 * 1024, 3600, 3, 1, 0),
            AgentMailRule("*", "*", ttl_seconds=2 * 86400),
        )

    @pytest.mark.parametrize(
        "text",
        [
            "acme/echo",
            "acme/echo ttl=0",
            "acme/echo letters=0",
            "acme/echo letters=many",
            "acme/echo bytes=1",
            "acme/echo attempts=0",
            "acme/echo wait=61s",
            "acme/echo contexts=0",
            "acme/echo offline=maybe",
            "acme/echo window=durable",
            "acme ttl=1h",
        ],
    )
    def test_that_cannot_be_read_are_one_clear_line(self, environ: dict[str, str], text: str) -> None:
        assert complaint({"mailbox_rules": text}, environ) == (
            "mailbox_rules (flag --mailbox-rules) must be rules such as acme/echo ttl=1h letters=10 offline=queue,"
            f" not {text!r}"
        )


def test_what_is_set_arrives_in_the_rules_of_letters() -> None:
    names = ("mailbox_letters", "mailbox_bytes", "letter_ttl", "letter_attempts", "letter_contexts")
    settings = Settings.default(offline="reject", sync_wait=7, **{name: 1 + at for at, name in enumerate(names)})
    assert read_mail_policy(settings).defaults == MailRules(False, Room(1, 2), 3, 4, 5, 7)


def test_a_rule_is_shown_as_it_may_be_written() -> None:
    for name, text in (
        ("mailbox_rules", "acme/echo offline=reject ttl=3600.0 letters=10 wait=0.0"),
        ("stream_rules", "*/* idle=30.0 window=durable"),
    ):
        (rule,) = getattr(load_only((name,), {name: text}, {}), name)
        assert rule_text(rule) == text


def test_every_default_is_a_value_that_may_be_set() -> None:
    for setting in SETTINGS:
        if setting.default in (None, "", ()) or callable(setting.default):
            continue
        text = ",".join(setting.default) if isinstance(setting.default, tuple) else str(setting.default)
        environ = {setting.env[0]: text}
        assert getattr(load_only((setting.name,), {}, environ), setting.name) == setting.default


def test_only_an_sqlite_store_is_a_file(tmp_path: Path) -> None:
    assert Settings.default(data_dir=tmp_path).store_file == tmp_path / "relay.db"
    assert Settings.default(store="sqlite:here.db").store_file == Path("here.db").absolute()
    for store in ("memory:", "sqlite:", "sqlite:///"):
        assert Settings.default(store=store).store_file is None


def test_settings_are_made_for_a_test_in_one_line(tmp_path: Path) -> None:
    settings = Settings.default(port=0, data_dir=tmp_path)
    assert (settings.port, settings.host) == (0, "127.0.0.1")
    assert settings.store == f"sqlite:///{str(tmp_path).lstrip('/')}/relay.db"
    assert settings.origin("port") == "default"


def test_a_relative_data_directory_becomes_an_absolute_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings.default(data_dir=Path("data")).store == f"sqlite:///{str(tmp_path).lstrip('/')}/data/relay.db"


def test_the_secret_is_not_in_the_repr() -> None:
    assert LONG_SECRET not in repr(Settings.default(jwt_secret=LONG_SECRET))


# --- sources ---


def test_flags_count_more_than_the_environment_that_more_than_the_file_and_that_more_than_defaults(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    file = write_file(tmp_path, 'port = 1\nhost = "::1"\n[limits]\nmax_body = "1MiB"\nmax_headers = 7\n')
    settings = load(
        {"config": str(file), "port": "3", "store": None}, environ | {"RELAY_PORT": "2", "RELAY_MAX_BODY": "2MiB"}
    )
    assert (settings.port, settings.origin("port")) == (3, "flag --port")
    assert (settings.max_body, settings.origin("max_body")) == (2 * 1024 * 1024, "env RELAY_MAX_BODY")
    assert (settings.max_headers, settings.origin("max_headers")) == (7, f"file {file}")
    assert (settings.host, settings.origin("host")) == ("::1", f"file {file}")
    assert (settings.log_level, settings.origin("log_level")) == ("info", "default")


def test_the_variables_of_platforms_are_understood_and_the_relays_own_count_more(environ: dict[str, str]) -> None:
    plain = load({}, environ | {"PORT": "9000", "BIND": "localhost"})
    assert (plain.port, plain.origin("port")) == (9000, "env PORT")
    assert (plain.host, plain.origin("host")) == ("localhost", "env BIND")
    assert load({}, environ | {"PORT": "9000", "RELAY_PORT": "9001"}).port == 9001


def test_an_empty_variable_counts_as_not_set(environ: dict[str, str]) -> None:
    assert load({}, environ | {"RELAY_PORT": "", "PORT": ""}).port == 8080


def test_a_file_in_the_data_directory_is_found_by_itself(tmp_path: Path) -> None:
    write_file(tmp_path, "port = 9005")
    settings = load({"data_dir": str(tmp_path)}, {})
    assert (settings.port, settings.origin("port")) == (9005, f"file {tmp_path / 'relay.toml'}")


def test_paths_in_a_file_are_relative_to_the_file(tmp_path: Path, environ: dict[str, str]) -> None:
    file = write_file(tmp_path, '[tls]\ntls_cert = "cert.pem"\ntls_key = "/etc/key.pem"')
    settings = load({"config": str(file)}, environ)
    assert (settings.tls_cert, settings.tls_key) == (tmp_path / "cert.pem", Path("/etc/key.pem"))


def test_some_settings_can_be_read_while_others_are_broken() -> None:
    assert load_only(("data_dir",), {}, {"RELAY_DATA_DIR": "/x", "PORT": "nonsense"}).data_dir == Path("/x")


def test_the_process_environment_is_the_default_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RELAY_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("RELAY_ROOT_AGENT", "acme/echo")
    assert Settings.load().root_agent == "acme/echo"


# --- complaints ---


def test_an_unknown_key_in_the_file_is_named_with_the_file(tmp_path: Path, environ: dict[str, str]) -> None:
    file = write_file(tmp_path, "[limits]\nmax_boddy = 1")
    assert complaint({"config": str(file)}, environ).startswith(f"{file}: there is no setting 'max_boddy'")


def test_a_key_that_is_set_in_two_sections_is_refused(tmp_path: Path, environ: dict[str, str]) -> None:
    file = write_file(tmp_path, "port = 1\n[relay]\nport = 2")
    assert "port is set twice" in complaint({"config": str(file)}, environ)


def test_a_file_that_is_not_toml_is_refused(tmp_path: Path, environ: dict[str, str]) -> None:
    file = write_file(tmp_path, "port: 1")
    assert f"{file} cannot be read" in complaint({"config": str(file)}, environ)


def test_a_file_that_is_named_must_be_there(tmp_path: Path, environ: dict[str, str]) -> None:
    assert "there is no file" in complaint({"config": str(tmp_path / "missing.toml")}, environ)


def test_a_file_found_in_the_data_directory_cannot_move_it(tmp_path: Path) -> None:
    write_file(tmp_path, 'data_dir = "/elsewhere"')
    assert "use --config" in complaint({"data_dir": str(tmp_path)}, {})


@pytest.mark.parametrize(
    "name,raw",
    [
        ("port", "http"),
        ("port", "65536"),
        ("port", "-1"),
        ("max_body", "4 potatoes"),
        ("max_body", "0"),
        ("max_headers", "0"),
        ("request_timeout", "soon"),
        ("request_timeout", "0"),
        ("access_log", "0"),
        ("access_log", "everything"),
        ("log_format", "xml"),
        ("legacy_tenants", "acme,../b"),
        ("trusted_proxies", "10.0.0.0/33"),
        ("trusted_proxies", "proxy.example"),
        ("public_url", "relay.example"),
        ("public_url", "https://user@relay.example"),
        ("public_url", "https://[::1"),
        ("public_url", "ftp://relay.example"),
        ("root_agent", "echo"),
        ("host", "a\nb"),
        ("tenants", "closed"),
    ],
)
def test_a_bad_value_is_refused_in_one_line_that_names_setting_source_and_value(
    name: str, raw: str, environ: dict[str, str]
) -> None:
    variable = BY_NAME[name].env[0]
    text = complaint({}, environ | {variable: raw})
    assert text.startswith(f"{name} (env {variable}) must be ")
    assert repr(raw) in text


def test_a_complaint_about_a_secret_does_not_repeat_it(environ: dict[str, str]) -> None:
    assert "hush" not in complaint({}, environ | {"RELAY_JWT_SECRET": "hush\x00hush"})


@pytest.mark.parametrize("raw", ["true", "[1]", "{a = 1}", "1.5", "nan"])
def test_a_value_of_the_wrong_toml_type_is_refused(raw: str, tmp_path: Path, environ: dict[str, str]) -> None:
    file = write_file(tmp_path, f"[relay]\nport = {raw}")
    assert "port" in complaint({"config": str(file)}, environ)


def test_a_certificate_needs_its_key(environ: dict[str, str]) -> None:
    assert complaint({"tls_cert": "cert.pem"}, environ) == "tls_cert and tls_key are needed together"


def test_the_first_frame_must_hold_a_card(environ: dict[str, str]) -> None:
    assert "max_first_frame" in complaint({"max_first_frame": "10KiB"}, environ)


def test_two_secrets_from_one_source_are_refused_and_from_two_the_stronger_counts(environ: dict[str, str]) -> None:
    both = {"RELAY_JWT_SECRET": LONG_SECRET, "RELAY_JWT_SECRET_FILE": "/f"}
    assert "set either jwt_secret or jwt_secret_file" in complaint({}, environ | both)
    settings = load({"jwt_secret_file": "/g"}, environ | {"RELAY_JWT_SECRET": LONG_SECRET})
    assert (settings.jwt_secret, settings.jwt_secret_file) == ("", Path("/g"))


# --- values ---


@pytest.mark.parametrize(
    "raw,expected", [("30", 30), ("30s", 30), ("10m", 600), ("12h", 43200), ("1d", 86400), ("250ms", 0.25), (1.5, 1.5)]
)
def test_durations(raw: Any, expected: float) -> None:
    assert seconds(raw) == expected


@pytest.mark.parametrize("raw", ["", "s", "-1", "1w", "1e3", "inf", "1 0", "٣", True])
def test_what_is_no_duration(raw: Any) -> None:
    with pytest.raises(ValueError, match="duration"):
        seconds(raw)


@pytest.mark.parametrize(
    "raw,expected", [("65536", 65536), ("64KiB", 65536), ("64kib", 65536), ("4 MiB", 4194304), ("1GB", 10**9)]
)
def test_sizes(raw: str, expected: int, environ: dict[str, str]) -> None:
    assert load({"max_body": raw}, environ).max_body == expected


def test_lists_come_as_text_or_as_toml_lists(tmp_path: Path, environ: dict[str, str]) -> None:
    file = write_file(
        tmp_path,
        'trusted_proxies = ["10.0.0.0/8", "::1"]\npush_targets = ["hooks.example", "b.example"]\naccess_log = 50',
    )
    settings = load({"config": str(file)}, environ)
    assert settings.trusted_proxies == ("10.0.0.0/8", "::1")
    assert settings.push_targets == "hooks.example,b.example"
    assert settings.access_log == "50"
    assert load({"trusted_proxies": "10.0.0.1, 10.0.0.2"}, environ).trusted_proxies == ("10.0.0.1", "10.0.0.2")


def test_a_public_url_loses_its_last_slash(environ: dict[str, str]) -> None:
    assert load({"public_url": "https://relay.example/base/"}, environ).public_url == "https://relay.example/base"


# --- warnings ---


def test_the_other_name_of_the_secret_is_taken_with_a_warning(environ: dict[str, str]) -> None:
    settings = load({}, environ | {"JWT_SECRET": LONG_SECRET})
    assert settings.jwt_secret == LONG_SECRET
    assert any("RELAY_JWT_SECRET" in warning for warning in settings.warnings)
    assert load({}, environ | {"RELAY_JWT_SECRET": LONG_SECRET}).warnings == ()


def test_listening_beyond_this_machine_without_tls_is_warned_about(environ: dict[str, str]) -> None:
    assert "without TLS" in load({"host": "0.0.0.0"}, environ).warnings[0]
    assert load({"host": "0.0.0.0", "trusted_proxies": "10.0.0.1"}, environ).warnings == ()
    assert load({"host": "0.0.0.0", "tls_cert": "c", "tls_key": "k"}, environ).warnings == ()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "LOCALHOST"])
def test_what_is_this_machine_alone(host: str) -> None:
    assert Settings.default(host=host).is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "localhost.example", "10.0.0.1"])
def test_what_is_more_than_this_machine(host: str) -> None:
    assert not Settings.default(host=host).is_loopback


# --- the secret ---


def test_a_given_secret_is_used(tmp_path: Path) -> None:
    assert resolve_secret(Settings.default(jwt_secret=LONG_SECRET)) == LONG_SECRET
    file = write_file(tmp_path, f"{LONG_SECRET}\n", "secret")
    assert resolve_secret(Settings.default(jwt_secret_file=file)) == LONG_SECRET


def test_a_short_secret_is_refused_with_its_length_and_source(environ: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^jwt_secret \(env RELAY_JWT_SECRET\) has 5 bytes; at least 32"):
        resolve_secret(load({}, environ | {"RELAY_JWT_SECRET": "short"}))
    with pytest.raises(SettingsError, match="has 5 bytes"):
        read_secret(write_file(tmp_path, "short"))


def test_a_secret_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        resolve_secret(Settings.default(jwt_secret_file=tmp_path / "none"))


def test_on_loopback_a_secret_is_made_once_and_kept_for_its_owner_alone(tmp_path: Path) -> None:
    settings = Settings.default(data_dir=tmp_path / "data")
    secret = resolve_secret(settings)
    assert len(secret) >= 32
    assert resolve_secret(settings) == secret
    assert secret_file(settings) == tmp_path / "data" / "jwt_secret"
    if os.name == "posix":
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "data" / "jwt_secret").stat().st_mode) == 0o600


def test_beyond_loopback_a_secret_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="needs a secret: set RELAY_JWT_SECRET"):
        resolve_secret(Settings.default(host="0.0.0.0", data_dir=tmp_path))


def test_of_two_first_starts_at_once_both_use_the_first_secret(tmp_path: Path) -> None:
    path = tmp_path / "jwt_secret"
    write_private(path, "first", replace=False)
    write_private(path, "second", replace=False)
    assert path.read_text(encoding="utf-8") == "first"
    assert [found.name for found in tmp_path.iterdir()] == ["jwt_secret"]


def test_a_data_directory_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    write_file(tmp_path, "", "file")
    with pytest.raises(SettingsError, match="cannot be written"):
        resolve_secret(Settings.default(data_dir=tmp_path / "file"))


# --- the local profile ---


def test_the_profile_says_where_the_relay_is_and_where_its_secret(tmp_path: Path) -> None:
    settings = Settings.default(data_dir=tmp_path)
    path = write_profile(settings, "http://127.0.0.1:8080")
    assert read_profile(tmp_path) == Profile("http://127.0.0.1:8080", "local", tmp_path / "jwt_secret")
    if os.name == "posix":
        assert path is not None
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_profile_holds_no_secret(tmp_path: Path) -> None:
    path = write_profile(Settings.default(data_dir=tmp_path, jwt_secret=LONG_SECRET), "http://127.0.0.1:8080")
    assert path is not None
    assert LONG_SECRET not in path.read_text(encoding="utf-8")
    found = read_profile(tmp_path)
    assert found is not None
    assert found.secret_file is None


def test_beyond_loopback_there_is_no_profile(tmp_path: Path) -> None:
    assert write_profile(Settings.default(data_dir=tmp_path, host="0.0.0.0"), "http://0.0.0.0:8080") is None
    assert read_profile(tmp_path) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"relay": "x"}'])
def test_a_broken_profile_is_one_clear_line(tmp_path: Path, text: str) -> None:
    write_file(tmp_path, text, "profile.json")
    with pytest.raises(SettingsError, match="remove it"):
        read_profile(tmp_path)


def test_kinds_are_words_for_the_docs() -> None:
    assert Kind.SECONDS == "duration"


class TestASecretInAFile:
    """Every secret may stand in a file of its own; tried with a setting that is made secret for the purpose."""

    @pytest.fixture(autouse=True)
    def secret(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sources, "FROM_FILES", ("root_agent",))

    def test_is_named_by_the_environment(self, tmp_path: Path) -> None:
        (tmp_path / "it").write_text(" acme/zaf\n")
        settings = load({"data_dir": str(tmp_path)}, {"RELAY_ROOT_AGENT_FILE": str(tmp_path / "it")})
        assert settings.root_agent == "acme/zaf"
        assert settings.origin("root_agent") == "env RELAY_ROOT_AGENT_FILE"

    def test_is_named_by_the_settings_file_beside_it(self, tmp_path: Path) -> None:
        (tmp_path / "it").write_text("acme/zaf")
        (tmp_path / "relay.toml").write_text('root_agent_file = "it"')
        assert load({"data_dir": str(tmp_path)}, {}).root_agent == "acme/zaf"

    def test_must_be_there_and_alone(self, tmp_path: Path) -> None:
        (tmp_path / "it").write_text("acme/zaf")
        (tmp_path / "empty").write_text("\n")
        for environ in (
            {"RELAY_ROOT_AGENT_FILE": str(tmp_path / "none")},
            {"RELAY_ROOT_AGENT_FILE": str(tmp_path / "empty")},
            {"RELAY_ROOT_AGENT_FILE": str(tmp_path / "it"), "RELAY_ROOT_AGENT": "acme/abe"},
        ):
            with pytest.raises(SettingsError):
                load({"data_dir": str(tmp_path)}, environ)
