"""Callbacks that recipes use beside Lightning's own."""
