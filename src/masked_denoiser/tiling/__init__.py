"""The tile plan: which rectangle is read and which is written, as a pure function of shapes."""
