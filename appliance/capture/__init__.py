"""The capture worker: one process per source, the only place libav and camera drivers run."""
