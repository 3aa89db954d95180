"""Widgets of both docks."""
