"""Safety checks of files before they are read: sizes, codecs and XML."""
