"""The compiled CPU loops, and how they are called from torch tensors."""
