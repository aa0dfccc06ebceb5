"""The operator: pixel losses or logits in, value, weights and gradient out."""
