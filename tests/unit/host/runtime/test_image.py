import json

import pytest
from polyrouter.host.runtime.image import ImageError, ImageInfo, Images


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
