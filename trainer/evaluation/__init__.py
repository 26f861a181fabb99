"""Likelihoods of whole pieces, figures with confidence intervals, baselines."""
