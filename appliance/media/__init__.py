"""Media itself: units, tracks, codec bitstreams, clock arithmetic. Pure: no I/O, no clock."""
