"""Logits to the pooled value and its gradient, without a full-size temporary."""
