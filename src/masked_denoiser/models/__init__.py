"""Models: network and card in one file, the catalogue of them, and import of published checkpoints."""
