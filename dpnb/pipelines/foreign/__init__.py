"""What code written for diffusers imports, and what is taken over from it."""
