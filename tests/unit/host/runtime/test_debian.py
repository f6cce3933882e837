"""Where packages come from, as this machine gets its own."""

import pytest
from polyrouter.host.runtime.debian import apt_options, debian_sources

DEBIAN = """\
http://mirror.example/debian|Debian|bookworm
http://mirror.example/debian|Debian|bookworm-updates
http://mirror.example/debian-security|Debian|bookworm-security
http://mirror.example/debian|Debian Backports|bookworm-backports
https://other.example|Node Source|nodistro
"""


def test_sources_of_the_machines_own_mirror():
    assert debian_sources("trixie", DEBIAN, "bookworm") == [
        "deb http://mirror.example/debian trixie main",
        "deb http://mirror.example/debian trixie-updates main",
        "deb http://mirror.example/debian-security trixie-security main",
    ]


def test_sid_has_no_updates():
    assert debian_sources("sid", DEBIAN, "bookworm") == ["deb http://mirror.example/debian sid main"]


@pytest.mark.parametrize("unknown", ["", "$(ORIGIN)"])
def test_sources_before_the_first_update(unknown):
    text = f"http://mirror.example/debian|{unknown}|trixie\nhttps://other.example|{unknown}|stable\n"
    assert debian_sources("trixie", text, "trixie") == ["deb http://mirror.example/debian trixie main"]
    assert debian_sources("trixie", text, "") == []


def test_ubuntu_has_none():
    assert debian_sources("trixie", "http://ubuntu.example/ubuntu|Ubuntu|noble\n", "") == []


def test_apt_options():
    dump = "\n".join(
        [
            'APT::Install-Recommends "0";',
            'Acquire "";',
            'Acquire::http::Proxy "http://user:secret@proxy.example:3128";',
            'Acquire::https::CAInfo "/etc/ssl/own.pem";',
            'Acquire::http "";',
            'Acquire::Retries "3";',
            'Acquire::Check-Valid-Until "false";',
            'Acquire::Languages:: "none";',
        ]
    )
    assert apt_options(dump, "/etc/apt/auth.conf") == [
        'Acquire::http::Proxy "http://user:secret@proxy.example:3128";',
        'Acquire::https::CAInfo "/etc/ssl/own.pem";',
        'Acquire::Retries "3";',
        'Acquire::Check-Valid-Until "false";',
        'Dir::Etc::netrc "/etc/apt/auth.conf";',
    ]
