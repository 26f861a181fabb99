"""Seed lists in all their forms, and the primer notes they name."""
