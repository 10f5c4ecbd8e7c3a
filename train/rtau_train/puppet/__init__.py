"""Portraits that perform exactly known Action Units."""
