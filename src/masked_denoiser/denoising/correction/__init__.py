"""What is done to the correction of a network: limits, and removal of the pattern of strides."""
