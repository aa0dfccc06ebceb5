"""Loss max-pooling for semantic segmentation (Rota Bulò, Neuhold, Kontschieder, CVPR 2017)."""

from lossmaxpool._version import __version__

__all__ = ["__version__"]
