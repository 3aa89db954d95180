"""Measures of the quality of a result: metrics, comparisons and plots."""
