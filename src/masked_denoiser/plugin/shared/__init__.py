"""Code shared by the docks: background tasks, widgets and messages."""
