"""A topology with a bit of everything that there is of links."""

TEXT = """\
name: small
topology:
  nodes:
    left: {ports: 3, core: {routers: 16}}
    right: {ports: 3}
  links:
    - endpoints: ["left:p0", "right:p0"]
  networks:
    red:
      routers:
        left:
          interfaces:
            eth0: {address: 10.0.0.1/30}
            v0: {address: 10.1.0.1/24, vnic: {switch: stub}}
        right: {interfaces: {eth0: {address: 10.0.0.2/30}}}
      hosts:
        a: {vnic: web0, address: 10.1.0.10/24}
  vnics:
    web: {node: left, switch: stub, count: 3, group: web}
    phy: {node: left, port: p1, vlan: 7, address: 10.7.0.1/24}
    end: {node: right}
    fin: {node: left}
    two: {vr: red-right, switch: far, address: 10.2.0.1/24}
  port-groups:
    web: {max-bw: 10M, min-bw: 1M}
  switches:
    stub: {node: left}
    far: {node: right, uplinks: [p2, {port: p1, vlan: 9}]}
  wires:
    w: {endpoints: [end, fin], tunnel: {kind: gre, key: 5, underlay: [red-left, red-right]}}
  tunnels:
    t: {node: left, switch: stub, kind: vxlan, key: 9, underlay: red-left, remote: 10.0.0.2}
"""


def changed(*pairs: tuple[str, str]) -> str:
    """The text with something else in place of what is there once."""
    text = TEXT
    for old, new in pairs:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text
