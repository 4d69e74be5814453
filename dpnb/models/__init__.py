"""Networks, each with its frozen settings, and what they share: loading, saving, switches."""
