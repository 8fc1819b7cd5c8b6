"""The chapter on lesions."""
