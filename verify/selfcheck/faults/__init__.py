"""Faults to be planted in train steps: a module for each kind, found by being here.

In: correct trainings. Out: registered faults (`verify.selfcheck.planted`). May import: selfcheck.
"""
