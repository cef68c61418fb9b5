"""Benchmarks: quality on data that nothing was trained on, speed beside peers in the same run."""
