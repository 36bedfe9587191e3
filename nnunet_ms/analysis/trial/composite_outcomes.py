"""Composite outcomes under the name that they had in this room: see `disability.composite_progression`."""

from nnunet_ms.disability.composite_progression import derive_outcome

__all__ = ["derive_outcome"]
