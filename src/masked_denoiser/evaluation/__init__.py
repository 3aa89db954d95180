"""Evaluation: how good a result is, in figures and in pictures."""
