"""Writers: each takes results tile by tile."""
