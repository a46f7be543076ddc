"""The Spanish catalogue: whole, the same as the sources, and what a technician really reads."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from string import Formatter
from typing import Final

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from certs.authority import Authority

ROOT: Final = Path(__file__).parents[2]
LOCALE: Final = ROOT / "gateway" / "locale"
BIN: Final = Path(sys.executable).parent
MADE: Final = ("c5-gateway.pot", "es/LC_MESSAGES/c5-gateway.po", "es/LC_MESSAGES/c5-gateway.mo")


@pytest.fixture(scope="module")
def spanish() -> Catalog:
    with (LOCALE / "es" / "LC_MESSAGES" / "c5-gateway.po").open("rb") as file:
        return read_po(file, "es", abort_invalid=True)


def places(text: str) -> list[str]:
    """Return the places of a text, with how each is printed."""
    parsed = [(name, conversion, form) for _text, name, form, conversion in Formatter().parse(text) if name is not None]
    return sorted(f"{name}!{conversion}:{form}" for name, conversion, form in parsed)


def run(*command: str | Path, language: str = "es", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one of our commands in a language, on a machine that has no locale but C."""
    return start(BIN / command[0], *command[1:], language=language, **environment)


def said_in(language: str, **environment: str) -> str:
    """Return one text as every command says it, without a command's whole start."""
    sentence = "from gateway.text import _; print(_('Keys and certificates for gateways, brokers and centres.'))"
    return start(sys.executable, "-c", sentence, language=language, **environment).stdout


def start(*command: str | Path, language: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "C5_"))}
    return subprocess.run(
        command,
        env={**kept, "LANG": "C", "LANGUAGE": language, "COLUMNS": "120", **environment},
        check=False,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )


def test_making_the_catalogue_anew_from_the_sources_changes_nothing(tmp_path: Path) -> None:
    for folder in ("gateway", "certs", "packaging"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "*.lock"))
    script = tmp_path / "packaging" / "catalogue.sh"
    made = subprocess.run([script, BIN], check=False, capture_output=True, text=True, timeout=60)
    assert (made.returncode, made.stdout, made.stderr) == (0, "", ""), "type: make catalogue, then translate these"
    anew = [name for name in MADE if (tmp_path / "gateway/locale" / name).read_bytes() != (LOCALE / name).read_bytes()]
    assert anew == [], "type: make catalogue"


def test_every_text_is_translated_and_none_is_a_guess(spanish: Catalog) -> None:
    texts = [message for message in spanish if message.id]
    assert len(texts) > 300
    assert [message.id for message in texts if not message.string or message.fuzzy] == []
    assert list(spanish.obsolete) == []


def test_a_translation_has_the_places_of_its_text(spanish: Catalog) -> None:
    texts = [(str(message.id), str(message.string)) for message in spanish if message.id]
    assert [text for text, translated in texts if places(text) != places(translated)] == []


def test_a_translation_keeps_commands_options_and_settings_as_they_are_typed(spanish: Catalog) -> None:
    typed = re.compile(
        r"--[a-z]+|c5-[a-z]+(?: [a-z]+)*(?= \{)|systemctl [a-z]+ [a-z0-9-]+|journalctl .*|chmod 600|timedatectl"
        r"|[a-z]+\.(?:pem|key)|(?:identity|gateway|receiver)\.[a-z_]+|\$[A-Z0-9_]+|/etc/\S+[a-z]|[a-z]+_[a-z_]+"
    )
    texts = [(str(message.id), str(message.string)) for message in spanish if message.id]
    lost = [(text, word) for text, translated in texts for word in typed.findall(text) if word not in translated]
    assert lost == []


def test_the_help_is_in_spanish() -> None:
    said = run("c5-gateway", "--help")
    assert (said.returncode, said.stderr) == (0, "")
    assert "Lee botones de pánico y sensores, firma cada evento y lo entrega a C5." in said.stdout
    assert "Dispositivos inscritos." in said.stdout
    assert "Lee botones" not in run("c5-gateway", "--help", language="en").stdout


@pytest.mark.parametrize("language", ["es_PA.UTF-8", "es_CO:en", "fr:es"])
def test_any_spanish_will_do(language: str) -> None:
    assert "Llaves y certificados" in said_in(language)


def test_without_language_the_locale_of_the_session_decides() -> None:
    assert "Llaves y certificados" in said_in("", LANG="es_PA.UTF-8")
    assert "Keys and certificates" in said_in("")


def test_a_broken_settings_file_is_told_in_spanish(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(
        '[gateway]\nid = "PA DAR"\nagency = "senafront"\n'
        '[[broker]]\nhost = ""\nport = 70000\nprotocol = "4"\ntls = "quizás"\nhots = 1\n'
        '[delivery]\nprofile = "largo"\n'
    )
    said = run("c5-gateway", "check", "--config", file)
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr.splitlines() == [
        "error: gateway.id: letras minúsculas, dígitos y guiones: [a-z0-9][a-z0-9-]{0,62}",
        "gateway.site: es obligatorio",
        "identity: es obligatorio",
        "broker[0].host: Cantidad mínima de caracteres: 1",
        "broker[0].port: Debe ser menor o igual que 65535",
        "broker[0].protocol: Debe ser 'auto', '5' o '3.1.1'",
        "broker[0].tls: Debe ser true o false",
        "broker[0].hots: no existe ese ajuste; aquí se permiten: host, port, protocol, tls",
        f"qué hacer: corrija {file}",
    ]


def test_a_certificate_that_exists_already_is_refused_in_spanish(tmp_path: Path) -> None:
    authority = tmp_path / "ca"
    assert run("c5-certs", "init", authority).stdout.startswith("autoridad de certificación creada; entregue")
    Authority.open(authority).issue("gateway", "pa-dar-0017")
    said = run("c5-certs", "issue", "gateway", "pa-dar-0017", "--dir", authority)
    folder = authority / "gateway" / "pa-dar-0017"
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr.splitlines() == [
        f"c5-certs: {folder} ya existe; no se sobrescribe nada",
        f"  aparte primero {folder}, o elija otro nombre",
    ]
