"""Models (network and card in one file), their catalogue, and the import of published checkpoints."""
