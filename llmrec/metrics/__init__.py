"""Metrics: pure functions of predictions and the truth."""
