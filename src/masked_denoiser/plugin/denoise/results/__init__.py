"""Results of jobs in a viewer, and what can be done with them."""
