"""Scans by the physics of MRI: what tissues look like under a protocol, and protocols as trials have them."""
