"""Where the weights of loss max-pooling sit, and labels that they say are wrong."""

from lossmaxpool.diagnostics.diagnosis import Diagnosis, diagnose, diagnose_losses
from lossmaxpool.diagnostics.suspects import Box, Suspect, SuspectedLabels

__all__ = ["Box", "Diagnosis", "Suspect", "SuspectedLabels", "diagnose", "diagnose_losses"]
