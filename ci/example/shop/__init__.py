"""Predicts what a customer will order next week."""
