"""Token buckets."""

import pytest
from polyrouter.host.lanes.limits import Bucket, Share, bucket_for
from pyroute2.netlink.rtnl.tcmsg.common import calc_xmittime


@pytest.mark.parametrize(("bits", "mtu", "size", "limit"), [
    (64_000, 1500, 2 * 1518, 8 * 1518),
    (1_000_000, 9000, 2 * 9018, 8 * 9018),
    (100_000_000, 1500, 250_000, 625_000),
    (1_000_000_000, 1500, 2_500_000, 6_250_000),
])
def test_a_bucket_holds_two_frames_or_twenty_milliseconds(bits, mtu, size, limit):
    assert bucket_for(bits, mtu) == Bucket(bits // 8, limit, calc_xmittime(bits // 8, size))


def test_what_the_kernel_keeps_in_32_bits_fits():
    for bits in (64_000, 1_000_000_000):
        bucket = bucket_for(bits, 9000)
        assert max(bucket.rate, bucket.limit, bucket.ticks) < 1 << 32


def test_handle_of_a_class():
    assert Share(3, 0, "low").handle == 0x10003
