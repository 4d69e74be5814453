"""Encoding and decoding pictures in parts: exactly, in strips of rows, or in blended tiles."""
