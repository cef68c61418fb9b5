"""Stage 1: P(boundary) from raw sections, by a network with test-time augmentation."""
