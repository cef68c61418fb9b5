"""The one adapter over bioimage_cpp: image operations and graph partitioning, guarded."""
