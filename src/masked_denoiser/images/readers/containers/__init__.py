"""Readers of files of general use that hold arrays: NumPy and HDF5."""
