"""Self-test of a board: is what is there what should be, and does it work?"""
