"""Diagnostics: ``bench`` measures the speed; ``doctor`` checks the data and times the stages."""
