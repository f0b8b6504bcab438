"""Contracts: what steps have to be, in files that a gate holds them against."""

SUFFIX = ".graph.toml"  # of every contract file's name
