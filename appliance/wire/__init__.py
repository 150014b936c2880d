"""The languages of the wire as sans-IO cores, both roles of each protocol in one."""
