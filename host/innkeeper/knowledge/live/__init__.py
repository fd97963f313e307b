"""Bases in memory: what reads need, so that they wait for nobody."""
