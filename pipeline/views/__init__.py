"""What a person looks at: pictures of sections, cross-cuts and neurons."""

from __future__ import annotations

from pipeline.views.pictures import save_pictures

__all__ = ["save_pictures"]
