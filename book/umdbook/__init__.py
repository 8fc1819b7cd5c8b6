"""The Python of the book's pages."""
