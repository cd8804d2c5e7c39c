"""Tests of the benchmark's own reckoning; what it measures needs a quiet machine, and is no test."""
