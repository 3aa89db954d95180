"""What both docks use: background tasks, messages, wording."""
