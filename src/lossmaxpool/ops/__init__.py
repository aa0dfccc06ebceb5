"""The loss max-pooling operator: from pixel losses or logits to value, weights and gradient."""
