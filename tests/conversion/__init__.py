"""Tests of the conversion of trained networks."""
