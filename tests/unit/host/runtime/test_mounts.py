from polyrouter.host.runtime.mounts import Mount, read_mounts

TEXT = r"""22 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
70 22 0:53 / /var/lib/a\040b/rootfs rw shared:1 master:2 - overlay overlay rw,lowerdir=/x\134:y
71 22 0:4 net:[4026532302] /run/p/netns/0 rw - nsfs nsfs rw
"""


def test_read():
    assert read_mounts(TEXT) == [
        Mount("/", "/", "ext4", "/dev/vda", "rw,discard"),
        Mount("/", "/var/lib/a b/rootfs", "overlay", "overlay", r"rw,lowerdir=/x\134:y"),
        Mount("net:[4026532302]", "/run/p/netns/0", "nsfs", "nsfs", "rw"),
    ]
