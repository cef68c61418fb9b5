"""Training of boundary networks: targets, augmentation on tensors, losses, resumable loop."""
