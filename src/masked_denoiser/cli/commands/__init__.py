"""Handlers of the subcommands."""
