"""Families that confirm or refute: written after the predictions of the study `families` were fixed in a commit."""

from __future__ import annotations

from isonum_core.worlds.family import Family

FRESH: dict[str, Family] = {}
