"""Contracts: what steps have to be, in files that a gate holds them against."""
