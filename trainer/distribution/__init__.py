"""Devices and processes that train together."""
