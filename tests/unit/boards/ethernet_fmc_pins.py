"""Where the signals of the Opsero Ethernet FMC are on boards with a connector for it.

From the constraint files of Opsero's reference designs (github.com/fpgadeveloper/ethernet-fmc-axi-eth, MIT), written
down apart from the boards' own files, which are made of the connectors' pins.
"""

__all__ = ["BOARDS", "ETHERNET_FMC_PINS"]

#: Columns of the table.
BOARDS = ("kc705_ethfmc", "ac701_ethfmc", "genesys2_ethfmc")

_TABLE = """
rgmii_port_0_rxc        AD23  D18   D27
rgmii_port_0_rx_ctl     AE24  C18   C27
rgmii_port_0_rd[0]      AF20  H14   H30
rgmii_port_0_rd[1]      AF21  H15   G30
rgmii_port_0_rd[2]      AG20  G17   E29
rgmii_port_0_rd[3]      AH20  F17   E30
rgmii_port_0_txc        AJ21  F19   H27
rgmii_port_0_tx_ctl     AH25  G16   E25
rgmii_port_0_td[0]      AH21  F18   H26
rgmii_port_0_td[1]      AJ22  C17   C29
rgmii_port_0_td[2]      AJ23  B17   B29
rgmii_port_0_td[3]      AG25  H16   F25
mdio_io_port_0_mdc      AG22  G15   B30
mdio_io_port_0_mdio_io  AK21  F20   C30
reset_port_0            AH22  F15   A30
rgmii_port_1_rxc        AE23  E17   D26
rgmii_port_1_rx_ctl     AF23  E18   C26
rgmii_port_1_rd[0]      AK20  G19   D29
rgmii_port_1_rd[1]      AK23  E16   B28
rgmii_port_1_rd[2]      AK25  A18   A27
rgmii_port_1_rd[3]      AK24  D16   A28
rgmii_port_1_txc        AF25  A19   A26
rgmii_port_1_tx_ctl     AC24  B22   B23
rgmii_port_1_td[0]      AB20  D20   E26
rgmii_port_1_td[1]      AE25  B19   A25
rgmii_port_1_td[2]      AC22  E21   E23
rgmii_port_1_td[3]      AD22  D21   D23
mdio_io_port_1_mdc      AC25  A20   D24
mdio_io_port_1_mdio_io  AE21  B21   B24
reset_port_1            AD24  A22   A23
rgmii_port_2_rxc        AB27  K21   F21
rgmii_port_2_rx_ctl     AF26  M16   G22
rgmii_port_2_rd[0]      AF27  M17   F22
rgmii_port_2_rd[1]      AJ26  M14   H21
rgmii_port_2_rd[2]      AH26  K20   G17
rgmii_port_2_rd[3]      AH27  J20   F17
rgmii_port_2_txc        AG27  J19   L17
rgmii_port_2_tx_ctl     AC26  G22   D22
rgmii_port_2_td[0]      AK26  L14   H22
rgmii_port_2_td[1]      AJ27  L17   J17
rgmii_port_2_td[2]      AK28  L18   H17
rgmii_port_2_td[3]      AG28  H19   L18
mdio_io_port_2_mdc      AG30  J18   H20
mdio_io_port_2_mdio_io  AD26  F22   C22
reset_port_2            AH30  H18   G20
rgmii_port_3_rxc        AD27  G20   D17
rgmii_port_3_rx_ctl     AD28  G21   D18
rgmii_port_3_rd[0]      AK29  J24   B22
rgmii_port_3_rd[1]      AJ28  F23   A20
rgmii_port_3_rd[2]      AK30  H24   A22
rgmii_port_3_rd[3]      AJ29  E23   A21
rgmii_port_3_txc        AF30  K23   H19
rgmii_port_3_tx_ctl     AB29  E25   A16
rgmii_port_3_td[0]      AF28  F24   A18
rgmii_port_3_td[1]      AE30  K22   J19
rgmii_port_3_td[2]      AD29  E26   C17
rgmii_port_3_td[3]      AE29  D26   B17
mdio_io_port_3_mdc      AB30  D25   A17
mdio_io_port_3_mdio_io  Y30   H26   K18
reset_port_3            AA30  G26   J18
"""

#: For each signal, by the name that it has there, its pin on each board.
ETHERNET_FMC_PINS = {signal: dict(zip(BOARDS, pins, strict=True))
                     for signal, *pins in map(str.split, _TABLE.split("\n")[1:-1])}
