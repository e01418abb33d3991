"""Certificates: what a record says of one adapter, and the level that it earns."""
