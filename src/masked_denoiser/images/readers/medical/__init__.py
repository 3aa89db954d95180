"""Readers of medical images: DICOM and NIfTI."""
