"""Context of a plane: neighbouring planes along T or Z, which show the same structure with other noise."""
