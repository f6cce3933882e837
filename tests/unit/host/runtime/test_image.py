import json

import pytest
from polyrouter.host.runtime.image import ImageError, ImageInfo, Images, apt_options, debian_sources

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


def _image(state, name):
    (state / "images" / name / "rootfs").mkdir(parents=True)
    info = ImageInfo(
        name=name,
        source="test",
        created="2026-01-01T00:00:00+00:00",
        frr_version="10.3",
        reload=True,
        frr_uid=1,
        frr_gid=1,
        frrvty_gid=2,
        size_bytes=1,
    )
    (state / "images" / name / "image.json").write_text(info.model_dump_json())


def test_list_describe_remove(tmp_path):
    images = Images(tmp_path)
    assert list(images.list()) == []
    _image(tmp_path, "one")
    _image(tmp_path, "two")
    (tmp_path / "images/half-made").mkdir()
    assert [info.name for info in images.list()] == ["one", "two"]
    assert images.exists("one")
    assert not images.exists("half-made")
    with pytest.raises(ImageError, match=r"no image 'three' \(there are: one, two\); make it with"):
        images.describe("three")
    images.remove("one")
    assert sorted(p.name for p in (tmp_path / "images").iterdir()) == ["half-made", "two"]


def test_image_in_use_is_kept(tmp_path):
    _image(tmp_path, "one")
    router = tmp_path / "networks/lab/n1/vrs/3"
    router.mkdir(parents=True)
    (router / "spec.json").write_text(json.dumps({"image": "one"}))
    images = Images(tmp_path)
    with pytest.raises(ImageError, match="in use by lab/n1/3"):
        images.remove("one")
    with pytest.raises(ImageError, match="there is an image 'one' already"):
        images.import_("one", tmp_path)
    assert images.exists("one")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a" * 65])
def test_names(tmp_path, name):
    with pytest.raises(ImageError, match="image name"):
        Images(tmp_path).exists(name)


def test_import_of_something_else_leaves_nothing(tmp_path):
    other = tmp_path / "other"
    (other / "bin").mkdir(parents=True)
    said = []
    with pytest.raises(ImageError, match="has no /bin/bash; a router's image needs bash and FRR 10"):
        Images(tmp_path).import_("other", other, said.append)
    with pytest.raises(ImageError, match="no such directory or archive"):
        Images(tmp_path).import_("other", tmp_path / "nothing")
    assert list((tmp_path / "images").iterdir()) == []
    assert said == [f"copying {other}", "checking FRR"]


def test_rests_of_a_killed_build_are_removed_by_the_next(tmp_path):
    _image(tmp_path, "one")
    (tmp_path / "images/.build-two-abcd/rootfs").mkdir(parents=True)
    (tmp_path / "images/.old-one-abcd").mkdir()
    with pytest.raises(ImageError):
        Images(tmp_path).import_("two", tmp_path / "nothing")
    assert [p.name for p in (tmp_path / "images").iterdir()] == ["one"]
