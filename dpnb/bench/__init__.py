"""Plans, measured one after another."""
