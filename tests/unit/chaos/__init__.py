"""Tests of the chaos suite itself: a check that cannot fail proves nothing."""
