"""Tests a method against its declaration and against what every method must keep."""
