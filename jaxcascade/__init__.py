"""jaxcascade."""
