"""Readers of the formats of microscope manufacturers: Nikon, Zeiss, Leica and Olympus."""
