"""The metadata hook: the description of the package is README.md without relative links."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class Description(MetadataHookInterface):
    """Makes the long description of README.md, for package indexes."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the description; docs/long_description.py says what becomes of its links."""
        root, published = Path(self.root), self.config.get("published", {})
        writer = runpy.run_path(str(root / "docs" / "long_description.py"))["long_description"]
        readme = (root / "README.md").read_text(encoding="utf-8")
        text = writer(readme, published.get("pages", ""), published.get("pictures", ""))
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
