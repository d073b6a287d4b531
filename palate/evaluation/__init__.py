"""Metrics, the standard protocol, and reports."""
