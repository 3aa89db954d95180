"""Writers: sinks that receive results tile by tile."""
