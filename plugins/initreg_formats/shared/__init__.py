"""Helpers that several formats use. A helper that one format uses belongs to that format."""
