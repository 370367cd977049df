"""The groups into which each analysis divides its values, known without the libraries that read images."""

from __future__ import annotations

from collections.abc import Mapping

from carina.model.job import SIGNAL_STATISTICS

MODALITIES = frozenset({"CT", "MR", "PT", "MG", "US", "NM", "CR", "DX", "XA"})
"""Those that are images; segmentations, plans, reports and presentation states are not."""
GROUPS: Mapping[str, frozenset[str]] = {SIGNAL_STATISTICS.name: MODALITIES}
"""By name of the analysis."""
