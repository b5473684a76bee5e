"""Executors: what runs packs, in this process or on a cluster."""
