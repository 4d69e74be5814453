"""Networks, each with its frozen configuration."""
