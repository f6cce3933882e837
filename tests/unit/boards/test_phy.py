"""Set-ups of PHYs, done to models of them: the delays are as the board wants them, and nothing else has changed."""

import itertools

import pytest
from polyrouter.boards.phy import PHYS, StepKind, phy_named
from polyrouter.hdl.config import ConfigError
from polyrouter.sim.mdio_phy import PRIORITY, BroadcomPhy, Clause22Phy, LinkPartner, MmdPhy, PagedPhy

WANTED = list(itertools.product((False, True), repeat=2))


def carry_out(steps, phy, limit=20):
    """What the PHY manager does."""
    for step in steps:
        if step.kind == StepKind.WRITE:
            assert step.mask == 0xFFFF
            phy.write(step.register, step.value)
        elif step.kind == StepKind.MODIFY:
            assert step.value & ~step.mask == 0, step
            phy.write(step.register, phy.read(step.register) & ~step.mask | step.value)
        else:
            assert any(phy.read(step.register) & step.mask == step.value for _ in range(limit)), step


def model(name):
    identifier = PHYS[name].identifier | 3
    if name.startswith("88E"):
        return PagedPhy(identifier, 22, pages={(2, 21): 0x1076}, reset_reads=4)
    if name.startswith("RTL8211F"):
        return PagedPhy(identifier, 31, pages={(0xD08, 0x11): 0x2109, (0xD08, 0x15): 0x5A17})
    return {"B50612D": BroadcomPhy, "KSZ9031RNX": MmdPhy}.get(name, Clause22Phy)(identifier)


@pytest.mark.parametrize("name", PHYS)
def test_only_full_duplex_is_offered_and_negotiated_anew(name):
    phy = model(name)
    phy.connect(LinkPartner())
    phy.write(0, 0x4C00)                # loop-back, isolated, powered down
    phy.read(1)
    carry_out(PHYS[name].setup(), phy)
    assert phy.abilities() == {ability for ability in PRIORITY if ability[1]}
    assert phy.advertised[4] & 0x0E00 == 0, "pause is offered"
    assert phy.control & 0xDE00 == 0x1000
    phy.read(1)
    assert phy.read(1) & 1 << 2
    assert phy.technology() == (1000, True)


@pytest.mark.parametrize("name", ["88E1510", "88E1512"])
@pytest.mark.parametrize(("rx", "tx"), WANTED)
def test_marvell(name, rx, tx):
    phy = model(name)
    phy.connect(LinkPartner())
    phy.read(1)
    phy.read(1)
    carry_out(PHYS[name].setup(rx, tx), phy)
    # The other bits are kept, page 0 is selected, and the software reset came after the change.
    assert phy.pages == {(2, 21): 0x1046 | rx << 5 | tx << 4}
    assert phy.page == 0
    steps = [(step.register, step.kind) for step in PHYS[name].setup(rx, tx)]
    assert steps.index((21, StepKind.MODIFY)) < steps.index((0, StepKind.MODIFY)) < steps.index((0, StepKind.AWAIT))
    assert phy.technology() == (1000, True)


@pytest.mark.parametrize(("rx", "tx"), WANTED)
def test_broadcom(rx, tx):
    phy = model("B50612D")
    phy.auxiliary[7] = 0x0110
    carry_out(PHYS["B50612D"].setup(rx, tx), phy)
    assert phy.auxiliary[7] & 0x0FF8 == 0x0010 | rx << 8
    assert phy.shadow == {3: tx << 9}


@pytest.mark.parametrize(("rx", "tx"), WANTED)
def test_ksz9031(rx, tx):
    phy = model("KSZ9031RNX")
    carry_out(PHYS["KSZ9031RNX"].setup(rx, tx), phy)
    control, clock = phy.mmd[2, 4], phy.mmd[2, 8]
    for delay, wanted, pad, skew, own in ((control >> 4, rx, phy.mmd[2, 5], clock & 31, 1200),
                                          (control & 15, tx, phy.mmd[2, 6], clock >> 5, 0)):
        assert pad == delay % 16 * 0x1111
        picoseconds = own + 60 * (skew - 15) - 60 * (delay - 7)
        # RGMII 2.0, table 2 asks for at least 1.2 ns of set-up and hold.
        assert 1300 <= picoseconds <= 2600 if wanted else abs(picoseconds) < 100
    assert (phy.mmd[0, 4], phy.mmd[0, 3]) == (6, 0x1A80)


@pytest.mark.parametrize(("rx", "tx"), WANTED)
def test_rtl8211f(rx, tx):
    phy = model("RTL8211F")
    carry_out(PHYS["RTL8211F"].setup(rx, tx), phy)
    assert phy.pages == {(0xD08, 0x11): 0x2009 | tx << 8, (0xD08, 0x15): 0x5A17 & ~8 | rx << 3}
    assert phy.page == 0


@pytest.mark.parametrize("name", ["88E1512", "B50612D", "RTL8211F"])
@pytest.mark.parametrize("wanted", [{}, {"rx_delay": False}, {"tx_delay": False}])
def test_delays_that_are_not_given_are_left_alone(name, wanted):
    """The models have both delays, as PHYs are strapped mostly."""
    left, both = model(name), model(name)
    if name == "RTL8211F":
        left.pages[0xD08, 0x15] |= 8
        both.pages[0xD08, 0x15] |= 8
    carry_out(PHYS[name].setup(**wanted), left)
    carry_out(PHYS[name].setup(**{"rx_delay": True, "tx_delay": True} | wanted), both)
    if isinstance(left, PagedPhy):
        assert left.pages == both.pages
    else:
        assert (left.auxiliary[7] & 0x0FF8, left.shadow) == (both.auxiliary[7] & 0x0FF8, both.shadow)


@pytest.mark.parametrize("name", ["RTL8211E", "generic"])
def test_straps_can_not_be_set(name):
    assert PHYS[name].setup() == PHYS["RTL8211F"].setup()
    with pytest.raises(ConfigError, match=f"{name} takes its RGMII delays from its straps, so rx_delay can't be set"):
        PHYS[name].setup(rx_delay=False)
    with pytest.raises(ConfigError, match="so tx_delay can't be set to True: leave tx_delay out"):
        PHYS[name].setup(tx_delay=True)


def test_identification():
    assert phy_named("88E1512").matches(0x01410DD1)
    assert not phy_named("88E1512").matches(0x01410E90)
    assert phy_named("B50612D").matches(0x03625E6A)
    assert phy_named("KSZ9031RNX").matches(0x00221622)
    assert phy_named("RTL8211E").matches(0x001CC915) and not phy_named("RTL8211E").matches(0x001CC916)
    assert phy_named("generic").matches(0x12345678)
    for phy in PHYS.values():
        assert phy.identifier & ~phy.mask == 0 and phy.reset_ms >= 10 and phy.ready_ms >= 0.1
    with pytest.raises(ConfigError, match="there is no PHY named '88E1111'; known are 88E1512, 88E1510, B50612D"):
        phy_named("88E1111")
