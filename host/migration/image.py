"""Where a checkpoint's files are while they are on their way: in memory, as each millisecond counts."""

from pathlib import Path

from ..runtime.mounts import mount

__all__ = ["make_image_directory"]


def make_image_directory(work: Path) -> Path:
    """Make a directory with ``image`` in it, which is in memory; :func:`..runtime.rootfs.remove_tree` removes both."""
    image = work / "image"
    image.mkdir(parents=True)
    work.chmod(0o700)
    # CRIU opens it as the container's root, too; nobody else gets as far as here.
    mount("tmpfs", image, "tmpfs", "mode=0755")
    return image
